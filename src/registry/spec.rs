//! The `Command` trait and its type-erased form.

use super::{Body, Context, Output};
use crate::device::Fut;
use crate::error::{Error, ErrorCode, Result, in_words};
use crate::guard::RequestView;
use crate::model::Row;
use crate::nearest::nearest;
use crate::principal::Role;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;

/// The most that a command can do. Whether one call is gated is decided by what the device would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Looks at the device.
    Read,
    /// Touches only this program's own sessions and jobs.
    Session,
    /// Shows content that may be secret.
    Disclosure,
    /// Changes the device in a way that can be taken back.
    Reversible,
    /// Changes the device.
    Destructive,
}

impl Effect {
    pub const fn changes(self) -> bool {
        matches!(self, Effect::Reversible | Effect::Destructive)
    }

    /// Whether a person may be asked, so that a reason makes sense.
    pub const fn asks(self) -> bool {
        !matches!(self, Effect::Read | Effect::Session)
    }
}

/// What a command says of itself.
#[derive(Debug)]
pub struct Spec {
    pub name: &'static str,
    /// A short title for people.
    pub title: &'static str,
    /// Other names in the console.
    pub aliases: &'static [&'static str],
    pub role: Role,
    pub effect: Effect,
    /// Runs in a session, on its device.
    pub session: bool,
    /// Has the long time limit.
    pub long: bool,
    /// Its rows are looked through: they can be filtered, sorted and paged. Outcomes of a plan are not.
    pub paged: bool,
    /// Its answer to no arguments is the same for the life of the process, and kept.
    pub fixed: bool,
    /// The console's fixed order.
    pub positional: &'static [&'static str],
    /// Flags that may stand first without a hyphen in the console.
    pub flags: &'static [&'static str],
    /// The columns of the console's table and of the compact text; all of them where empty.
    pub columns: &'static [&'static str],
    /// The columns of the console's table where it shows others.
    pub table: &'static [&'static str],
    /// A console line and the arguments it stands for.
    pub examples: &'static [(&'static str, &'static str)],
}

impl Spec {
    /// The commonest kind: a basic read in a session. Commands name what differs.
    pub const READ: Spec = Spec {
        name: "",
        title: "",
        aliases: &[],
        role: Role::Basic,
        effect: Effect::Read,
        session: true,
        long: false,
        paged: true,
        fixed: false,
        positional: &[],
        flags: &[],
        columns: &[],
        table: &[],
        examples: &[],
    };

    /// A command about this program's own state.
    pub const SESSION: Spec = Spec { effect: Effect::Session, session: false, ..Spec::READ };

    /// The columns of the console's table; all where empty.
    pub const fn table(&self) -> &'static [&'static str] {
        if self.table.is_empty() { self.columns } else { self.table }
    }

    /// Can ask many devices at once: it looks at a device and touches nothing.
    pub const fn sweeps(&self) -> bool {
        self.session && matches!(self.effect, Effect::Read | Effect::Disclosure)
    }

    /// Leaves a line in the audit log: it looked at a device or into the evidence.
    pub fn is_recorded(&self) -> bool {
        self.session || self.effect != Effect::Session
    }
}

/// What a command came to.
#[derive(Debug)]
#[must_use = "a pending reply is not done"]
pub enum Reply<T> {
    Done(T),
    /// A person is asked; nothing has changed.
    Pending(Box<RequestView>),
}

/// A Live Response command or a helper: one file under `commands/`.
pub trait Command: Send + Sync + 'static {
    const SPEC: Spec;

    /// Its doc comment is the tool's description, the fields' are the parameters'.
    type Args: DeserializeOwned + JsonSchema + Send;
    type Output: Output;

    fn run(args: Self::Args, cx: &Context<'_>) -> impl Future<Output = Result<Reply<Self::Output>>> + Send;
}

/// A command with its types erased.
pub trait Tool: Send + Sync {
    fn spec(&self) -> &'static Spec;

    /// The fields of a listing's rows; `None` where the output is no listing.
    fn row_fields(&self) -> Option<&'static [&'static str]>;

    /// Of the arguments.
    fn args_schema(&self) -> Schema;

    /// Of `data`.
    fn data_schema(&self) -> Schema;

    /// Parses without running: what the examples are tested by.
    fn check(&self, args: &str) -> Result<()>;

    fn call<'a>(&'a self, args: &'a str, cx: &'a Context<'a>) -> Fut<'a, Result<Reply<Body>>>;
}

pub struct Erased<C>(PhantomData<fn() -> C>);

impl<C> Erased<C> {
    pub const fn new() -> Self {
        Erased(PhantomData)
    }
}

impl<C> Default for Erased<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Command> Tool for Erased<C> {
    fn spec(&self) -> &'static Spec {
        &C::SPEC
    }

    fn row_fields(&self) -> Option<&'static [&'static str]> {
        C::Output::FIELDS
    }

    fn args_schema(&self) -> Schema {
        super::schema::of::<C::Args>()
    }

    fn data_schema(&self) -> Schema {
        C::Output::schema()
    }

    fn check(&self, args: &str) -> Result<()> {
        parse::<C>(args).map(drop)
    }

    fn call<'a>(&'a self, args: &'a str, cx: &'a Context<'a>) -> Fut<'a, Result<Reply<Body>>> {
        Box::pin(async move {
            Ok(match C::run(parse::<C>(args)?, cx).await? {
                Reply::Pending(request) => Reply::Pending(request),
                Reply::Done(output) => Reply::Done(output.into_body()?),
            })
        })
    }
}

fn parse<C: Command>(args: &str) -> Result<C::Args> {
    serde_json::from_str(args).map_err(|e| explain::<C>(args, &e))
}

/// What serde says of a value of neither form, where its type has this as `expecting`.
const UNTAGGED: &str = "a text or a list of texts";

/// Says which argument is wrong: serde names the position, a caller needs the name.
fn explain<C: Command>(args: &str, whole: &serde_json::Error) -> Error {
    let name = C::SPEC.name;
    let text = whole.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    let said = in_words(reason);
    let schema = super::schema::of::<C::Args>();
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(|p| p.as_object())
        .map(|p| p.keys().map(String::as_str).collect())
        .unwrap_or_default();
    if let Some(unknown) = reason.strip_prefix("unknown field `").and_then(|r| r.split('`').next()) {
        return unknown_argument(name, unknown, &known);
    }
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(args).unwrap_or_default();
    let culprit = fields.iter().find(|(key, value)| {
        let alone = format!("{{{}:{value}}}", serde_json::Value::from(key.as_str()));
        serde_json::from_str::<C::Args>(&alone).err().is_some_and(|e| !e.to_string().starts_with("missing field"))
    });
    let error = match culprit {
        Some((key, value)) => {
            // A parser says nothing of what stands where a word is to be.
            let words = schema.pointer(&format!("/properties/{key}/enum")).and_then(|e| e.as_array());
            let given: String = value.to_string().chars().take(60).collect();
            let said = match words.filter(|_| !value.is_string()) {
                Some(words) => {
                    let words: Vec<&str> = words.iter().filter_map(|w| w.as_str()).collect();
                    format!("{given} is none of: {}", words.join(", "))
                }
                None if said == UNTAGGED => format!("{given} is not {said}"),
                None => said,
            };
            Error::new(ErrorCode::BadArgs, format!("{name}: argument {key:?}: {said}"))
        }
        None => Error::new(ErrorCode::BadArgs, format!("{name}: {said}")),
    };
    error.hint(format!("help {name} shows the arguments"))
}

/// An argument that the tool does not have.
pub(super) fn unknown_argument(tool: &str, unknown: &str, known: &[&str]) -> Error {
    let shown: String = unknown.chars().take(60).collect();
    let error = Error::new(ErrorCode::BadArgs, format!("{tool} has no argument {shown:?}"))
        .detail(&serde_json::json!({ "unknown_keys": [shown] }));
    match nearest(unknown, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean {near:?}?")),
        None if known.is_empty() => error.hint(format!("{tool} takes no arguments of its own")),
        None => error.hint(format!("its arguments are {}", known.join(", "))),
    }
}

/// The fields of a row type, for outputs that are listings of it.
pub(super) const fn fields<R: Row>() -> &'static [&'static str] {
    R::FIELDS
}
