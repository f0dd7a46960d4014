//! A scheduled task of Windows as its XML file tells it ([MS-TSCH] 2.5).
//!
//! Invariant: hostile bytes; no entity is expanded, the tree has at most [`NODES`] nodes, and what declares another
//! encoding than it has is read as what it is.

use roxmltree::{Document, Node, ParsingOptions};

/// A task file is a few kilobytes; more than this is not looked at.
pub const LIMIT: u64 = 256 << 10;
const NODES: u32 = 20_000;
/// Namespaces, and attributes in one tag: a parser compares each with all others.
const NAMESPACES: usize = 64;
const ATTRIBUTES: usize = 256;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// One line an action: its command line, or the class of a handler.
    pub actions: Vec<String>,
    /// One line a trigger.
    pub triggers: Vec<String>,
    /// SID or name of the account, or of the group.
    pub account: Option<String>,
    pub enabled: bool,
    pub hidden: bool,
}

impl Task {
    /// What is wrong with a file that is no task.
    pub fn parse(bytes: &[u8]) -> Result<Task, String> {
        let text = decode(bytes);
        let crowded = text.split('<').any(|tag| tag.matches('=').count() > ATTRIBUTES);
        if crowded || text.matches("xmlns").count() > NAMESPACES {
            return Err("it has more attributes than a task".into());
        }
        let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..Default::default() };
        let document = Document::parse_with_options(&text, options).map_err(|e| e.to_string())?;
        let root = document.root_element();
        if root.tag_name().name() != "Task" {
            return Err("it is no task".into());
        }
        let settings = |name| child(root, "Settings").and_then(|s| text_of(s, name));
        Ok(Task {
            actions: children(root, "Actions").filter_map(action).collect(),
            triggers: children(root, "Triggers").map(trigger).collect(),
            account: child(root, "Principals")
                .and_then(|p| child(p, "Principal"))
                .and_then(|p| text_of(p, "UserId").or_else(|| text_of(p, "GroupId"))),
            enabled: settings("Enabled").is_none_or(|v| is_true(&v)),
            hidden: settings("Hidden").is_some_and(|v| is_true(&v)),
        })
    }
}

/// Windows writes UTF-16; tools write ASCII or UTF-8 and leave the declaration as it was.
fn decode(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).filter_map(|c| c.first_chunk().map(|c| of(*c)));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [b'<', 0, ..] => wide(bytes, u16::from_le_bytes),
        [0, b'<', ..] => wide(bytes, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn action(node: Node<'_, '_>) -> Option<String> {
    let text = |name| text_of(node, name);
    match node.tag_name().name() {
        "Exec" => {
            let command = text("Command")?;
            Some(text("Arguments").map_or(command.clone(), |a| format!("{command} {a}")))
        }
        "ComHandler" => {
            let class = text("ClassId")?;
            Some(text("Data").map_or_else(|| format!("COM {class}"), |d| format!("COM {class} {d}")))
        }
        other => Some(other.to_owned()),
    }
}

fn trigger(node: Node<'_, '_>) -> String {
    let text = |name| text_of(node, name);
    let from = text("StartBoundary").map(|s| format!(" from {s}")).unwrap_or_default();
    let mut line = match node.tag_name().name() {
        "BootTrigger" => "at boot".to_owned(),
        "LogonTrigger" => format!("at logon{}", text("UserId").map(|u| format!(" of {u}")).unwrap_or_default()),
        "TimeTrigger" => format!("once{from}"),
        "CalendarTrigger" => format!("{}{from}", calendar(node)),
        "RegistrationTrigger" => "when registered".to_owned(),
        "IdleTrigger" => "when idle".to_owned(),
        "EventTrigger" => format!("on event {}", text("Subscription").unwrap_or_default()),
        "SessionStateChangeTrigger" => format!("on {}", text("StateChange").unwrap_or_else(|| "session change".into())),
        other => other.to_owned(),
    };
    if let Some(interval) = child(node, "Repetition").and_then(|r| text_of(r, "Interval")) {
        line += &format!(", every {interval}");
    }
    if let Some(delay) = text("Delay") {
        line += &format!(", {delay} later");
    }
    if text("Enabled").is_some_and(|v| !is_true(&v)) {
        line += " (disabled)";
    }
    line
}

fn calendar(node: Node<'_, '_>) -> String {
    for (name, unit, interval) in
        [("ScheduleByDay", "day", "DaysInterval"), ("ScheduleByWeek", "week", "WeeksInterval")]
    {
        let Some(schedule) = child(node, name) else { continue };
        let days: Vec<&str> = children(schedule, "DaysOfWeek").map(|d| d.tag_name().name()).collect();
        let on = if days.is_empty() { String::new() } else { format!(" on {}", days.join(", ")) };
        return match text_of(schedule, interval) {
            Some(count) if count != "1" => format!("every {count} {unit}s{on}"),
            _ => format!("every {unit}{on}"),
        };
    }
    match ["ScheduleByMonth", "ScheduleByMonthDayOfWeek"].into_iter().any(|name| child(node, name).is_some()) {
        true => "every month".into(),
        false => "by calendar".into(),
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1")
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|c| c.tag_name().name() == name)
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    child(node, name).into_iter().flat_map(|n| n.children()).filter(|c| c.is_element())
}

fn text_of(node: Node<'_, '_>, name: &str) -> Option<String> {
    let text = child(node, name)?.text()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><URI>\Updater</URI></RegistrationInfo>
  <Triggers>
    <LogonTrigger><Enabled>true</Enabled><UserId>LAB\ann</UserId></LogonTrigger>
    <CalendarTrigger><Repetition><Interval>PT5M</Interval></Repetition><StartBoundary>2026-01-02T03:04:05</StartBoundary>
      <ScheduleByWeek><WeeksInterval>2</WeeksInterval><DaysOfWeek><Monday/><Friday/></DaysOfWeek></ScheduleByWeek></CalendarTrigger>
  </Triggers>
  <Principals><Principal id="Author"><UserId>S-1-5-18</UserId></Principal></Principals>
  <Settings><Hidden>true</Hidden></Settings>
  <Actions Context="Author">
    <Exec><Command>C:\ProgramData\u.exe</Command><Arguments>-s &amp;x</Arguments></Exec>
    <ComHandler><ClassId>{0f87369f}</ClassId></ComHandler>
  </Actions>
</Task>"#;

    #[test]
    fn a_task_tells_what_runs_when_and_as_whom() {
        let task = Task::parse(XML.as_bytes()).unwrap();
        assert_eq!(task.actions, [r"C:\ProgramData\u.exe -s &x", "COM {0f87369f}"]);
        assert_eq!(
            task.triggers,
            [r"at logon of LAB\ann", "every 2 weeks on Monday, Friday from 2026-01-02T03:04:05, every PT5M"]
        );
        assert_eq!(task.account.as_deref(), Some("S-1-5-18"));
        assert!(task.enabled && task.hidden);
    }

    #[test]
    fn every_encoding_is_the_same_task() {
        let wide = |of: fn(u16) -> [u8; 2]| XML.encode_utf16().flat_map(of).collect::<Vec<u8>>();
        let little = wide(u16::to_le_bytes);
        let marked = [&[0xff, 0xfe], little.as_slice()].concat();
        let big = [&[0xfe, 0xff], wide(u16::to_be_bytes).as_slice()].concat();
        let ascii = Task::parse(XML.as_bytes()).unwrap();
        for bytes in [little, marked, big, [&[0xef, 0xbb, 0xbf], XML.as_bytes()].concat()] {
            assert_eq!(Task::parse(&bytes).as_ref(), Ok(&ascii));
        }
    }

    #[test]
    fn entities_of_its_own_are_refused() {
        let bomb =
            r#"<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Task><Actions>&b;</Actions></Task>"#;
        assert!(Task::parse(bomb.as_bytes()).is_err());
    }

    #[test]
    fn endless_nodes_are_refused() {
        let many = format!("<Task>{}</Task>", "<a/>".repeat(30_000));
        assert!(Task::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn endless_attributes_are_refused() {
        let attributes: String = (0..200_000).map(|i| format!(" a{i}=\"\"")).collect();
        assert!(Task::parse(format!("<Task{attributes}/>").as_bytes()).is_err());
        let names: String = (0..50_000).map(|i| format!(" xmlns:n{i}=\"u{i}\"")).collect();
        assert!(Task::parse(format!("<Task{names}>{}</Task>", "<n1:a/>".repeat(9_000)).as_bytes()).is_err());
    }

    #[test]
    fn deep_nesting_ends() {
        let deep = format!("<Task>{}", "<a>".repeat(19_000));
        assert!(Task::parse(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_task_or_say_why_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Task::parse(&bytes);
        }

        #[test]
        fn a_cut_task_says_so(cut in 0..XML.len()) {
            let _ = Task::parse(&XML.as_bytes()[..cut]);
        }
    }
}
