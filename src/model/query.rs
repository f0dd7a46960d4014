//! The one table of what a device can be asked.

use super::*;
use crate::error::{Error, ErrorCode, Result};

/// A question with a typed answer.
pub trait Ask {
    type Answer;

    fn query(self) -> Query;
    fn pick(answer: Answer) -> Result<Self::Answer>;
}

macro_rules! asks {
    ($($variant:ident($query:ty) -> $answer:ty),* $(,)?) => {
        /// Data: it can be batched, stored in a plan, sent.
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        pub enum Query { $($variant($query)),* }

        #[derive(Debug)]
        pub enum Answer { $($variant($answer)),* }

        impl Query {
            /// Its name in messages.
            pub const fn kind(&self) -> &'static str {
                match self { $(Query::$variant(_) => stringify!($variant)),* }
            }
        }

        $(impl Ask for $query {
            type Answer = $answer;

            fn query(self) -> Query {
                Query::$variant(self)
            }

            fn pick(answer: Answer) -> Result<$answer> {
                match answer {
                    Answer::$variant(x) => Ok(x),
                    _ => Err(Error::new(ErrorCode::Backend, concat!("the device answered something other than ", stringify!($variant)))),
                }
            }
        })*
    };
}

asks! {
    Arrival(ArrivalQuery) -> Arrival,
    Enter(EnterQuery) -> DevicePath,
    Processes(ProcessQuery) -> Vec<Process>,
    Connections(ConnectionQuery) -> Vec<Connection>,
    Dir(DirQuery) -> Vec<FileRow>,
    Find(FindQuery) -> Vec<FileRow>,
    FileInfo(FileInfoQuery) -> Box<FileInfo>,
    Services(ServiceQuery) -> Vec<Service>,
    Drivers(DriverQuery) -> Vec<Driver>,
    Tasks(TaskQuery) -> Vec<ScheduledTask>,
    Startup(StartupQuery) -> Vec<StartupItem>,
    Persistence(PersistenceQuery) -> Vec<Persistence>,
    Registry(RegistryQuery) -> (RegistryKey, Vec<RegistryRow>),
    Analyze(AnalyzeQuery) -> Box<Analysis>,
    Scan(ScanQuery) -> (Scanned, Vec<Detection>),
    Remediated(RemediatedQuery) -> Vec<Remediated>,
    Hunt(HuntQuery) -> (Hunted, Vec<HuntRow>),
    Indicators(IndicatorQuery) -> Vec<IndicatorRow>,
}
