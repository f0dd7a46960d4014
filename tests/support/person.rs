//! A person with an authenticator app.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const STEP_S: u64 = 30;
/// Between code and vote lies the viewing time: a code of the step before is given this early in a step only.
const EARLY_S: u64 = 18;

pub struct Person {
    totp: totp_rs::Totp,
    pub url: String,
    /// The last time step whose code was given out by [`Person::code`].
    given: AtomicU64,
}

impl Person {
    /// Reads the URI of an enrolment's screen.
    pub fn scan(screen: &str) -> Self {
        let url = screen.split_whitespace().find(|w| w.starts_with("otpauth://"));
        let url = url.unwrap_or_else(|| panic!("no otpauth URI in {screen:?}")).to_owned();
        Person { totp: totp_rs::Totp::from_url(&url).expect("an otpauth URI"), url, given: AtomicU64::new(0) }
    }

    /// A code that was not given yet and is good for a while: of the step before where it may be, else of the present
    /// one. Waits for the next step where both were given.
    pub fn code(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(3 * STEP_S);
        loop {
            let (step, into) = (now() / STEP_S, now() % STEP_S);
            let oldest = if into < EARLY_S { step - 1 } else { step };
            let fresh = oldest.max(self.given.load(Relaxed) + 1);
            if fresh <= step {
                self.given.store(fresh, Relaxed);
                return self.totp.generate(fresh * STEP_S).to_string();
            }
            assert!(Instant::now() < deadline, "no new step began");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The code of the present step or of one before, given before or not; [`Person::code`] gives later ones from then
    /// on. Waits for the next step where this one is nearly over.
    pub fn code_of(&self, steps_ago: u64) -> String {
        let deadline = Instant::now() + Duration::from_secs(2 * STEP_S);
        while now() % STEP_S >= EARLY_S {
            assert!(Instant::now() < deadline, "no new step began");
            std::thread::sleep(Duration::from_millis(100));
        }
        let step = now() / STEP_S - steps_ago;
        self.given.fetch_max(step, Relaxed);
        self.totp.generate(step * STEP_S).to_string()
    }

    /// A code that is none of the accepted ones.
    pub fn wrong_code(&self) -> String {
        let right = [1, 0].map(|steps_ago| self.totp.generate(now() - STEP_S * steps_ago).to_string());
        (0..).map(|n| format!("{n:06}")).find(|c| !right.contains(c)).expect("a million codes")
    }

    pub fn secret(&self) -> &str {
        self.url.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).expect("a secret in the URI")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
