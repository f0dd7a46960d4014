//! Bytes whose number is not known before they are there, in a file of ours without a name until they are packed.

use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use crate::private;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

/// As much as one answer may have.
const LIMIT: u64 = 4 << 30;

pub struct Spool {
    file: Option<BufWriter<File>>,
    size: u64,
}

impl Spool {
    /// `E_STORE_UNAVAILABLE` where the home has no room.
    pub fn new(home: &Path) -> Result<Spool> {
        let file = private::nameless(&home.join("snapshots"))?;
        Ok(Spool { file: Some(BufWriter::with_capacity(64 * 1024, file)), size: 0 })
    }

    pub fn none() -> Spool {
        Spool { file: None, size: 0 }
    }

    /// A row as a line.
    pub fn row(&mut self, row: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(row)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("a row has no JSON form: {e}")))?;
        line.push(b'\n');
        self.write_all(&line).map_err(|e| self.error(e))
    }

    /// All that a source has, as far as it can be read.
    pub fn fill(&mut self, mut from: impl Read, job: &Job) -> Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            job.check()?;
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.write_all(buffer.get(..n).unwrap_or_default()).map_err(|e| self.error(e))?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // What came until then is worth having.
                Err(_) => return Ok(()),
            }
        }
    }

    pub fn error(&self, e: std::io::Error) -> Error {
        Error::new(ErrorCode::StoreUnavailable, format!("a part of the package cannot be kept in the state home: {e}"))
            .hint("free space there and ask again")
            .source(e)
    }

    /// Size and content, from its start.
    pub fn read(mut self) -> Result<(u64, File)> {
        let file = self.file.take().map(|f| f.into_inner().map_err(|e| e.into_error()));
        let rewound = file.unwrap_or_else(|| Err(std::io::Error::other("nothing is there"))).and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        });
        Ok((self.size, rewound.map_err(|e| self.error(e))?))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let file = self.file.as_mut().ok_or_else(|| std::io::Error::other("nothing is there"))?;
        if self.size > LIMIT {
            return Err(std::io::Error::other(format!("it has more than {LIMIT} bytes")));
        }
        let n = file.write(bytes)?;
        self.size += u64::try_from(n).unwrap_or(0);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
