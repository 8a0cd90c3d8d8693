//! Names and addresses of people and machines, taken out on request. What is secret is gone long before.

/// What stands for a user's name.
const USER: &str = "[user]";
/// What stands for an address of mail, or anything else with an `@` in it.
const ADDRESS: &str = "[address]";

/// Hides names in what is shown, as they become known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    hidden: bool,
    known: Vec<String>,
}

/// How many names are looked for.
const KNOWN_MAX: usize = 1024;

impl Names {
    pub(crate) const fn new(hidden: bool) -> Self {
        Self { hidden, known: Vec::new() }
    }

    /// Whether names are hidden.
    pub(crate) const fn hidden(&self) -> bool {
        self.hidden
    }

    /// This is a user's name: it is not shown from here on, nor is what stands in it before an `@`.
    pub(crate) fn learn(&mut self, name: &str) {
        if !self.hidden || self.known.len() >= KNOWN_MAX {
            return;
        }
        let parts = name.split(['@', '\\', '/', '%', '+', ':', '"', ',', '!']);
        for name in core::iter::once(name).chain(parts) {
            // A letter or two would be found everywhere.
            if name.len() > 2 && !self.known.iter().any(|known| known == name) {
                self.known.push(name.to_owned());
            }
        }
        self.known.sort_by_key(|name| std::cmp::Reverse(name.len()));
    }

    /// A user's name where nothing else stands.
    pub(crate) fn user(&self, name: &str) -> String {
        if self.hidden { USER.to_owned() } else { name.to_owned() }
    }

    /// The same for sentences of ours, which end in full stops.
    pub(crate) fn shown_in_words(&self, text: String) -> String {
        if !self.hidden {
            return text;
        }
        let mut text = text;
        for name in &self.known {
            text = replace_folded(&text, name);
        }
        let words = text.split(' ').map(|word| match word.trim_end_matches(['.', ',']) {
            bare if is_address(bare) => word.replacen(bare, ADDRESS, 1),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The text as it may be shown.
    pub(crate) fn shown(&self, text: String) -> String {
        if !self.hidden {
            return text;
        }
        let mut text = text;
        for name in &self.known {
            text = replace_folded(&text, name);
        }
        let words = text.split(' ').map(|word| if is_address(word) { ADDRESS } else { word });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Whether a word is an address of mail, or the name or the number of a machine: it has an `@`, or dots between letters or
/// digits, and is no decimal number.
fn is_address(word: &str) -> bool {
    let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let dotted = inner.as_bytes().windows(3).any(|octets| {
        octets[1] == b'.' && octets[0].is_ascii_alphanumeric() && octets[2].is_ascii_alphanumeric()
    });
    let is_number =
        inner.matches('.').count() == 1 && inner.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    word.contains('@') || word.matches(':').count() > 1 || (dotted && !is_number)
}

/// Every place of `name`, in capitals or not, becomes the mark of a user.
fn replace_folded(text: &str, name: &str) -> String {
    let (folded, name) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
    for (at, _) in folded.match_indices(&name) {
        // Folding letters of ASCII moves no other.
        shown.push_str(text.get(from..at).unwrap_or_default());
        shown.push_str(USER);
        from = at + name.len();
    }
    shown + text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_hidden_once_they_are_known() {
        let mut names = Names::new(true);
        names.learn("John.Doe@example.org");
        assert_eq!(names.shown("USER john.doe@EXAMPLE.org".to_owned()), "USER [user]");
        assert_eq!(
            names.shown("+OK john.doe's maildrop, x <ann@example.net>".to_owned()),
            "+OK [user]'s maildrop, x [address]"
        );
    }

    #[test]
    fn nothing_is_hidden_unasked() {
        let mut names = Names::new(false);
        names.learn("john");
        assert_eq!(names.shown("USER john".to_owned()), "USER john");
    }
}
