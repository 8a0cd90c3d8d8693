//! The back ends there are, one line each.
//!
//! The names in the configuration, the help, the manual and the error for an unknown name are renderings of
//! [`BACKENDS`]. Building a store out of its settings is the caller's business.

/// A back end, as far as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its key in the configuration, such as `maildir`.
    pub name: &'static str,
    /// One line that says what it is.
    pub help: &'static str,
    /// An example of its value in the configuration, as TOML.
    pub example: &'static str,
}

/// Every back end, in the order in which help lists them.
pub const BACKENDS: &[Backend] = &[crate::maildir::BACKEND, crate::memory::BACKEND];

/// The back end of this name.
pub fn find(name: &str) -> Option<&'static Backend> {
    BACKENDS.iter().find(|backend| backend.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_back_end_has_a_name_of_its_own_and_a_line_of_help() {
        for backend in BACKENDS {
            assert_eq!(find(backend.name), Some(backend));
            assert!(!backend.help.is_empty() && !backend.help.contains('\n'));
        }
        assert_eq!(find("punched-cards"), None);
    }
}
