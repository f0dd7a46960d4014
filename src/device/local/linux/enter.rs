//! `cd`: a directory by its real path inside the view.

use super::view::{How, View};
use crate::error::Result;
use crate::model::{DevicePath, EnterQuery};

/// The absolute path with links resolved. `E_NOT_A_FILE` where it is no directory, `E_ACCESS` where it cannot be listed.
pub fn enter(view: &View, query: &EnterQuery) -> Result<DevicePath> {
    view.open(&query.path, How::Directory).map(|opened| opened.real_path)
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{TempTree, host, image, text};
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn gives_the_real_path() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("a/b")).unwrap();
        std::os::unix::fs::symlink("a/b", tree.path("link")).unwrap();
        let enter = |view: &View, path| enter(view, &EnterQuery { path });
        assert_eq!(enter(&host(&tree), tree.device_path("link/../.")).unwrap(), tree.device_path("a"));
        assert_eq!(enter(&image(&tree, "a"), text("/../..")).unwrap(), text("/"));
    }

    #[test]
    fn a_file_is_no_directory() {
        let tree = TempTree::new();
        std::fs::write(tree.path("file"), "").unwrap();
        let error = enter(&host(&tree), &EnterQuery { path: tree.device_path("file") }).err().unwrap();
        assert_eq!(error.code, ErrorCode::NotAFile);
    }
}
