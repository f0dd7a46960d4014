//! What this account may see of the host, from its effective capabilities (`man 7 capabilities`).

use super::users::Accounts;
use crate::principal::Principal;
use crate::shape::Untrusted;

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;

/// Inodes that the kernel gives the first namespaces, on every machine (`include/linux/proc_ns.h`).
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The effective capabilities of this process.
#[derive(Clone, Copy, Debug)]
pub struct Rights(u64);

impl Rights {
    /// None, where they cannot be read.
    pub fn own() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
    }

    fn parse(status: &str) -> Self {
        let value = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Rights(value.and_then(|v| u64::from_str_radix(v.trim(), 16).ok()).unwrap_or(0))
    }

    fn has(self, capability: u32) -> bool {
        self.0 >> capability & 1 == 1
    }

    /// Whether `/proc` shows images, directories and descriptors of other accounts' processes.
    pub fn sees_processes(self) -> bool {
        self.has(CAP_SYS_PTRACE)
    }

    /// What they hide, a line each, with the way to see it.
    pub fn hidden(self) -> Vec<String> {
        let lines = [
            (
                !self.has(CAP_SYS_PTRACE),
                "images, working directories and sockets of other accounts' processes: run as root, or with CAP_SYS_PTRACE",
            ),
            (
                !self.has(CAP_DAC_READ_SEARCH) && !self.has(CAP_DAC_OVERRIDE),
                "files and directories that the account may not read: run as root, or with CAP_DAC_READ_SEARCH",
            ),
            (
                !self.has(CAP_SYS_ADMIN),
                "the names of network namespaces of other accounts, and the holders of their sockets: run as root, or with CAP_SYS_ADMIN",
            ),
            (!self.has(CAP_NET_ADMIN), "firewall rules: run as root, or with CAP_NET_ADMIN"),
        ];
        lines.into_iter().filter(|(hides, _)| *hides).map(|(_, line)| line.to_owned()).collect()
    }
}

/// For warnings: who cannot see something of a process, and what would help.
pub fn shielded_from() -> String {
    let account = Principal::own();
    if Rights::own().sees_processes() {
        return format!(
            "as {account}, although it has CAP_SYS_PTRACE: a security module or a user namespace shields them"
        );
    }
    format!("as {account}: run as root, or with CAP_SYS_PTRACE")
}

/// For warnings, where [`hides_processes`].
pub const HIDES_PROCESSES: &str =
    "/proc is mounted with hidepid, so processes of other accounts may be missing: run as root";

/// Whether this account's view of `/proc` leaves out processes of others.
pub fn hides_processes() -> bool {
    if Rights::own().sees_processes() {
        return false;
    }
    has_hidepid(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Whether the mount at `/proc` leaves out processes (`man 5 proc`).
fn has_hidepid(mounts: &str) -> bool {
    mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/proc")).any(|line| {
        let options = line.rsplit(' ').next().unwrap_or_default().split(',');
        options.filter_map(|o| o.strip_prefix("hidepid=")).any(|level| !matches!(level, "0" | "off"))
    })
}

/// What the namespaces that this process is in hide, whatever its rights.
pub fn hidden_by_namespaces() -> Vec<String> {
    let outside = |name: &str, first: &str| {
        std::fs::read_link(format!("/proc/self/ns/{name}")).is_ok_and(|link| link.as_os_str() != first)
    };
    let lines = [
        (
            outside("pid", FIRST_PID_NAMESPACE),
            "processes outside this container (a PID namespace of its own): run in the host's",
        ),
        (
            outside("user", FIRST_USER_NAMESPACE),
            "what root of the host sees (rights hold in this user namespace only): run in the host's",
        ),
    ];
    lines.into_iter().filter(|(hides, _)| *hides).map(|(_, line)| line.to_owned()).collect()
}

/// The account that commands run as, by name where it has one.
pub fn account(accounts: &Accounts) -> Untrusted {
    accounts.user_or_id(rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_capabilities_hide_nothing() {
        assert!(Rights::parse("Name:\tx\nCapEff:\t000001ffffffffff\n").hidden().is_empty());
    }

    #[test]
    fn a_proc_that_hides_processes_is_known() {
        let mount =
            |at: &str, options: &str| has_hidepid(&format!("22 1 0:21 / {at} rw,nosuid - proc proc {options}\n"));
        for options in ["rw,hidepid=1", "rw,hidepid=2", "rw,gid=4,hidepid=invisible", "rw,hidepid=ptraceable"] {
            assert!(mount("/proc", options), "{options}");
        }
        assert!(!mount("/proc", "rw") && !mount("/proc", "rw,hidepid=0") && !mount("/proc", "rw,hidepid=off"));
        assert!(!mount("/mnt/proc", "rw,hidepid=2") && !has_hidepid(""));
    }

    #[test]
    fn an_unreadable_status_hides_everything() {
        for status in ["", "CapEff:", "CapEff: zz", "CapEff:\t0000000000000000"] {
            assert_eq!(Rights::parse(status).hidden().len(), 4, "{status}");
        }
    }

    #[test]
    fn each_missing_capability_is_a_line() {
        let all = u64::MAX;
        for (capability, word) in
            [(CAP_SYS_PTRACE, "images"), (CAP_NET_ADMIN, "firewall"), (CAP_SYS_ADMIN, "namespaces")]
        {
            let hidden = Rights(all & !(1 << capability)).hidden();
            assert!(hidden.len() == 1 && hidden[0].contains(word), "{hidden:?}");
        }
    }
}
