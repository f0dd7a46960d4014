//! The obvious ways round the guard do not compile.

#[test]
fn ways_round_the_guard() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
