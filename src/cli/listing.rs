//! A listing on stdout: a table for people, JSON for programs.

use super::io::Io;
use crate::error::Result;
use crate::model::Job;
use crate::shape::{Rows, Selection, Wanted, select, table};

/// Prints all rows: `columns` as a table, or every field as a JSON array.
pub(super) fn print(rows: &dyn Rows, columns: &[&str], json: bool, io: &mut Io) -> Result<()> {
    let job = Job::default();
    let selection = select(rows, &Wanted::default(), &job)?;
    print_selected(rows, &selection, columns, json, io)
}

/// [`print`] of rows that were selected already.
pub(super) fn print_selected(
    rows: &dyn Rows,
    selection: &Selection,
    columns: &[&str],
    json: bool,
    io: &mut Io,
) -> Result<()> {
    let job = Job::default();
    if json {
        return table::json(rows, selection, &job, &mut io.out);
    }
    if selection.order.is_empty() {
        io.note("none");
        return Ok(());
    }
    let columns = table::columns(rows, selection, false, columns);
    table::table(rows, selection, &columns, None, &job, &mut io.out)
}
