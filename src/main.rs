//! argv → cli; nothing else.

fn main() -> std::process::ExitCode {
    live_response::cli::run()
}
