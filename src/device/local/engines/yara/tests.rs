use super::*;
use crate::model::DevicePath;
use crate::private::scratch::Scratch;

fn names(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| f.name.raw().to_owned()).collect()
}

fn scan(rules: &str, path: &str, head: &[u8]) -> Vec<Finding> {
    let rules = Ruleset::of(rules).unwrap();
    let path = DevicePath::new(path);
    Scanner::new(&rules).scan(&Sample { path: &path, owner: "ann", head }).unwrap()
}

#[test]
fn a_rule_that_explodes_is_stopped_and_the_next_file_is_scanned() {
    let rules = Ruleset::of(
        "rule slow { condition: for all i in (0..2000000000) : (for all j in (0..2000000000) : (i + j >= 0)) }
         rule fine { strings: $a = \"evil\" condition: $a }",
    )
    .unwrap();
    let path = DevicePath::new("/x");
    let mut scanner = Scanner::new(&rules);
    scanner.time = Duration::from_secs(1);
    assert_eq!(scanner.scan(&Sample { path: &path, owner: "", head: b"evil" }), Err(Failure::Time));
    assert_eq!(scanner.scan(&Sample { path: &path, owner: "", head: b"evil" }), Err(Failure::Time));
    let rules = Ruleset::of("rule fine { strings: $a = \"evil\" condition: $a }").unwrap();
    let mut scanner = Scanner::new(&rules);
    assert_eq!(names(&scanner.scan(&Sample { path: &path, owner: "", head: b"evil" }).unwrap()), ["fine"]);
}

#[test]
fn externals_are_told() {
    let rules = "rule told { condition: filename == \"a.JPG\" and filepath == \"/srv/a.JPG\" and extension == \".jpg\"
                 and filetype == \"EXE\" and owner == \"ann\" }";
    assert_eq!(names(&scan(rules, "/srv/a.JPG", b"MZ\x90\0\x03\0\0\0")), ["told"]);
    assert_eq!(names(&scan(rules, "/srv/b.JPG", b"MZ\x90\0\x03\0\0\0")), Vec::<String>::new());
}

#[test]
fn a_name_that_is_no_text_is_told_as_it_is() {
    let rules = Ruleset::of("rule raw { condition: filename contains \"\\xff\" }").unwrap();
    let path = DevicePath::new(*b"/srv/a\xff");
    let found = Scanner::new(&rules).scan(&Sample { path: &path, owner: "", head: b"" }).unwrap();
    assert_eq!(names(&found), ["raw"]);
}

#[test]
fn a_rule_says_how_grave_it_is() {
    let rules =
        "rule a { meta: verdict = \"suspicious\" description = \"odd\" condition: true } rule b { condition: true }";
    let found = scan(rules, "/x", b"");
    assert_eq!(found.iter().map(|f| f.status).collect::<Vec<_>>(), [Status::Suspicious, Status::Infected]);
    assert_eq!(found[0].note.as_ref().map(Untrusted::raw), Some("odd"));
}

#[test]
fn a_file_larger_than_its_pieces_is_found_everywhere_and_over_their_borders() {
    let dir = Scratch::new();
    let piece = 4 * OVERLAP;
    let mut bytes = vec![b'.'; 3 * piece];
    bytes[2 * piece + 5..2 * piece + 9].copy_from_slice(b"evil");
    bytes[piece - 3..piece + 4].copy_from_slice(b"borders");
    std::fs::write(dir.join("f"), &bytes).unwrap();
    let rules = Ruleset::of(
        "rule deep { strings: $a = \"evil\" condition: $a }
         rule border { strings: $a = \"borders\" condition: $a }
         rule both { strings: $a = \"evil\" $b = \"borders\" condition: all of them }
         rule absent { strings: $a = \"nothing\" condition: $a }",
    )
    .unwrap();
    let path = DevicePath::new("/f");
    let file = File::open(dir.join("f")).unwrap();
    let sample = Sample { path: &path, owner: "", head: &bytes[..piece] };
    let mut buffer = vec![0; piece];
    let mut scanner = Scanner::new(&rules);
    let found = scanner.scan_pieces(&sample, &file, &mut buffer, &Job::default()).unwrap();
    assert_eq!(names(&found), ["deep", "border", "both"]);
    let job = Job::default();
    job.cancel();
    assert_eq!(scanner.scan_pieces(&sample, &file, &mut buffer, &job), Err(Failure::Stopped));
}

#[test]
fn a_pattern_everywhere_is_one_finding_in_bounded_memory() {
    let found = scan("rule many { strings: $a = \"aa\" condition: #a > 100 }", "/x", &vec![b'a'; 4 << 20]);
    assert_eq!(names(&found), ["many"]);
}
