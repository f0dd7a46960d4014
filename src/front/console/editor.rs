//! Line editing with history and completion.
//!
//! Invariant: the editor blocks a thread of its own while it waits for a person; jobs go on meanwhile.

use crate::commands;
use crate::error::{Error, ErrorCode, Result};
use crate::private;

use reedline::{
    ColumnarMenu, Completer, CompletionResult, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, Span, Suggestion,
    default_emacs_keybindings,
};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

const HISTORY_LINES: usize = 1000;
const MENU: &str = "completion";

pub(super) struct Editor(Option<Reedline>);

impl Editor {
    /// A history that cannot be kept in its file is kept in memory.
    pub(super) fn new(history: PathBuf) -> Self {
        let mut keys = default_emacs_keybindings();
        keys.add_binding(
            KeyModifiers::NONE,
            KeyCode::Tab,
            ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]),
        );
        let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
        let editor = Reedline::create()
            .with_completer(Box::new(Names))
            .with_menu(menu)
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_ansi_colors(std::env::var_os("NO_COLOR").is_none());
        let kept = private_file(&history).ok().and_then(|()| FileBackedHistory::with_file(HISTORY_LINES, history).ok());
        Editor(Some(match kept {
            Some(kept) => editor.with_history(Box::new(kept)),
            None => editor,
        }))
    }

    /// The next line; `None` once the person leaves. Ctrl+C gives an empty one.
    pub(super) async fn line(&mut self, prompt: String) -> Result<Option<String>> {
        let Some(mut editor) = self.0.take() else { return Ok(None) };
        let (editor, read) = crate::registry::blocking(move || {
            let read = editor.read_line(&Place(prompt));
            (editor, read)
        })
        .await?;
        self.0 = Some(editor);
        match read {
            Ok(Signal::Success(line)) => Ok(Some(line)),
            Ok(Signal::CtrlD) => Ok(None),
            Ok(_) => Ok(Some(String::new())),
            Err(e) => Err(Error::new(ErrorCode::Backend, format!("the terminal: {e}"))),
        }
    }
}

/// What was typed may hold names and case numbers: the file is the account's alone.
fn private_file(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        private::dir(parent)?;
    }
    private::open_or_create(path).map(drop)
}

struct Place(String);

impl Prompt for Place {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search {:?}) ", search.term))
    }
}

/// Completes commands, and the parameters of the one that the line begins with.
struct Names;

impl Completer for Names {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let typed = line.get(..pos).unwrap_or(line);
        let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = typed.get(start..).unwrap_or_default();
        let found: Vec<Suggestion> = candidates(typed.get(..start).unwrap_or_default(), word)
            .into_iter()
            .map(|value| Suggestion {
                value,
                span: Span::new(start, start + word.len()),
                append_whitespace: true,
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(found)
    }
}

fn candidates(before: &str, word: &str) -> Vec<String> {
    let lower = word.to_ascii_lowercase();
    let names = || commands::ALL.iter().map(|t| t.spec().name.to_owned());
    let mut words = before.split_whitespace();
    let all: Vec<String> = match (words.next(), words.next()) {
        (None, _) => names().chain(["exit".to_owned()]).collect(),
        (Some(first), None) if first.eq_ignore_ascii_case("help") && !word.starts_with('-') => names().collect(),
        (Some(first), _) if word.starts_with('-') => super::lookup(first)
            .map(|spec| {
                let own = spec.parameters.iter().map(|p| format!("-{}", p.name));
                own.filter(|name| name != "-background").chain(["-output".to_owned()]).collect()
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|name| name.starts_with(&lower)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::console_spec;

    #[test]
    fn commands_and_their_parameters_complete() {
        assert_eq!(candidates("", "proc"), ["processes"]);
        assert_eq!(candidates("help ", "rem"), ["remediate"]);
        assert_eq!(candidates("dir ", "-full"), ["-full_path"]);
        assert!(candidates("LS ", "-out").contains(&"-output".to_owned()));
        assert!(candidates("dir ", "").is_empty());
    }

    #[test]
    fn every_parameter_is_offered() {
        for tool in commands::ALL {
            for p in console_spec(*tool).parameters.iter().filter(|p| p.name != "background") {
                let option = format!("-{}", p.name);
                assert!(candidates(&format!("{} ", tool.spec().name), &option).contains(&option), "{option}");
            }
        }
    }
}
