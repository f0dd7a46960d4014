//! The text of a crontab (`man 5 crontab`): settings and jobs, with a user's field in the system's own.
//!
//! Invariant: pure; any bytes give lines no bigger than they are.

/// Lines of one file beyond these are not read.
pub const LINES: usize = 10_000;
/// Settings of one file that are remembered.
const SETTINGS: usize = 256;

/// A job with the settings that stand before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Counted from 1.
    pub line: usize,
    /// Five fields, or a nickname such as `@reboot`.
    pub schedule: String,
    pub user: Option<Vec<u8>>,
    pub command: Vec<u8>,
    /// Name and value, in order; of several the last counts.
    pub settings: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The jobs of a crontab; `with_user` in the system's own. Whether there are more lines than are read.
pub fn parse(bytes: &[u8], with_user: bool) -> (Vec<Job>, bool) {
    let mut jobs = Vec::new();
    let mut settings: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut lines = bytes.split(|b| *b == b'\n').enumerate();
    for (i, line) in lines.by_ref().take(LINES) {
        let line = line.trim_ascii();
        if line.is_empty() || line.first() == Some(&b'#') {
            continue;
        }
        if let Some(mut job) = job(line, with_user) {
            job.line = i + 1;
            job.settings.clone_from(&settings);
            jobs.push(job);
        } else if let Some((name, value)) = setting(line) {
            settings.retain(|(known, _)| *known != name);
            if settings.len() < SETTINGS {
                settings.push((name, value));
            }
        }
    }
    (jobs, lines.next().is_some())
}

/// `NAME = value`, either in quotes.
fn setting(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let at = line.iter().position(|b| *b == b'=')?;
    let (name, value) = line.split_at(at);
    let name = unquote(name.trim_ascii());
    let word = !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    word.then(|| (name.to_vec(), unquote(value.get(1..).unwrap_or_default().trim_ascii()).to_vec()))
}

fn unquote(text: &[u8]) -> &[u8] {
    let inner = |q: u8| text.strip_prefix(&[q])?.strip_suffix(&[q]);
    inner(b'"').or_else(|| inner(b'\'')).unwrap_or(text)
}

fn job(line: &[u8], with_user: bool) -> Option<Job> {
    // A `-` before the schedule keeps the job out of syslog.
    let line = line.strip_prefix(b"-").unwrap_or(line);
    let count = if line.first() == Some(&b'@') { 1 } else { 5 };
    let (fields, rest) = split_fields(line, count)?;
    if !fields.iter().all(|field| is_field(field)) {
        return None;
    }
    let schedule: Vec<_> = fields.iter().map(|f| String::from_utf8_lossy(f)).collect();
    let (user, command) = match with_user {
        true => {
            let (user, command) = split_fields(rest, 1)?;
            (user.first().map(|u| u.to_vec()), command)
        }
        false => (None, rest),
    };
    let command = command.trim_ascii().to_vec();
    if command.is_empty() {
        return None;
    }
    Some(Job { line: 0, schedule: schedule.join(" "), user, command, settings: Vec::new() })
}

/// What a field can hold, whatever comes of it: a broken one is shown as it stands.
fn is_field(field: &[u8]) -> bool {
    match field.split_first() {
        Some((b'@', rest)) => !rest.is_empty() && rest.iter().all(u8::is_ascii_alphanumeric),
        Some((b'A'..=b'Z' | b'a'..=b'z', _)) => field.iter().all(|b| b.is_ascii_alphanumeric() || b",-/".contains(b)),
        _ => field.iter().all(|b| b.is_ascii_alphanumeric() || b"*,-/~?".contains(b)),
    }
}

fn split_fields(text: &[u8], count: usize) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut fields = Vec::with_capacity(count);
    let mut rest = text.trim_ascii_start();
    for _ in 0..count {
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        if field.is_empty() {
            return None;
        }
        fields.push(field);
        rest = after.trim_ascii_start();
    }
    Some((fields, rest))
}

/// The five fields of a nickname; `None` for `@reboot`, which no clock tells.
pub fn fields_of(schedule: &str) -> Option<&str> {
    Some(match schedule {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        fields if !fields.starts_with('@') => fields,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commands(text: &str, with_user: bool) -> Vec<(usize, String, String)> {
        let text_of = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let jobs = parse(text.as_bytes(), with_user).0.into_iter();
        jobs.map(|j| (j.line, format!("{} {}", j.schedule, text_of(&j.user.unwrap_or_default())), text_of(&j.command)))
            .collect()
    }

    #[test]
    fn jobs_with_their_line_schedule_and_user() {
        let text = "# m h\n\n17 *\t* * *\troot    cd / && run-parts /etc/cron.hourly\n@reboot eve /tmp/.x -d\n";
        assert_eq!(
            commands(text, true),
            [
                (3, "17 * * * * root".into(), "cd / && run-parts /etc/cron.hourly".into()),
                (4, "@reboot eve".into(), "/tmp/.x -d".into())
            ]
        );
        assert_eq!(commands("-*/5 * * * 1-5 A=b /bin/x\n", false), [(1, "*/5 * * * 1-5 ".into(), "A=b /bin/x".into())]);
    }

    #[test]
    fn settings_hold_for_the_jobs_behind_them() {
        let (jobs, _) = parse(b"* * * * * /a\nSHELL = '/tmp/sh'\n PATH=\"/tmp:/bin\"\nPATH=/x\n* * * * * /b\n", false);
        assert!(jobs[0].settings.is_empty());
        let expected = [(b"SHELL".to_vec(), b"/tmp/sh".to_vec()), (b"PATH".to_vec(), b"/x".to_vec())];
        assert_eq!(jobs[1].settings, expected);
    }

    #[test]
    fn what_is_no_job_is_none() {
        let text = "* * * * *\n* * * * * root\n@reboot\n; * * * * x\n* * * * /bin/x y\n\0\0\n";
        assert_eq!(commands(text, true), []);
    }

    #[test]
    fn no_more_lines_than_the_limit() {
        let (jobs, cut) = parse(&b"* * * * * /x\n".repeat(LINES + 3), false);
        assert_eq!((jobs.len(), cut), (LINES, true));
    }

    proptest! {
        #[test]
        fn any_bytes_give_no_more_than_they_hold(bytes in proptest::collection::vec(any::<u8>(), 0..300), user: bool) {
            let (jobs, _) = parse(&bytes, user);
            let held: usize = jobs.iter().map(|j| j.command.len()).sum();
            prop_assert!(held <= bytes.len());
        }
    }
}
