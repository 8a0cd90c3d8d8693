//! The text of a dialogue: what is read is written and read again, and an error stands inside the text.

use restante_proto::dialogue::{Dialogue, Reader};

pub(super) fn run(text: &[u8]) {
    let dialogue = match Dialogue::parse(text) {
        Ok(dialogue) => dialogue,
        Err(error) => {
            let lines: Vec<&[u8]> = text.split(|&octet| octet == b'\n').collect();
            let line =
                error.line.checked_sub(1).and_then(|line| lines.get(line)).expect("a line of the text");
            // Just behind the last character, at most.
            let characters = String::from_utf8_lossy(line).chars().count();
            assert!((1..=characters + 1).contains(&error.column), "{error}");
            assert!(error.to_string().len() < 400);
            return;
        }
    };
    let written = dialogue.to_string();
    assert!(written.bytes().all(|octet| octet == b'\n' || matches!(octet, b' '..=b'~')), "printable ASCII");
    let again = Dialogue::parse(written.as_bytes()).expect("what was written is a dialogue");
    assert_eq!(again, dialogue);
    assert_eq!(again.to_string(), written);
    // With other line ends, and read line by line.
    let crlf = written.replace('\n', "\r\n");
    assert_eq!(Dialogue::parse(crlf.as_bytes()).as_ref(), Ok(&dialogue));
    let (mut reader, mut events) = (Reader::new(), Vec::new());
    for line in written.lines() {
        events.extend(reader.line(line.as_bytes()).unwrap());
    }
    assert_eq!((reader.head(), events), (&dialogue.head, dialogue.events));
}
