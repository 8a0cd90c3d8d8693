//! The end of a session: what was left undone, and how it ended in words.

use restante_proto::dialogue::Side;

use super::{Draft, Quit, Trace, remarks};
use crate::{
    anomaly::Anomaly,
    heard::Ending,
    row::{Row, RowKind},
    words,
};

impl Trace {
    /// Tells what is under way, and what follows from the end.
    pub(super) fn finish(&mut self, ending: Ending, rows: &mut Vec<Row>) {
        self.break_off(rows);
        let over = ending == Ending::Closed || self.tcp.reset.is_some() || self.closed != [false; 2];
        let marked = self.marked();
        self.summary.ending = self.how(ending, over);
        let mut draft = Draft::new(RowKind::Note, None, self.summary.ending.clone());
        if over && marked > 0 && self.quit == Quit::Unsaid && !self.unsure {
            let were = if marked == 1 { "was" } else { "were" };
            let text = format!(
                "{} {were} marked as deleted, and the session ended without QUIT: nothing was deleted.",
                words::count(marked, "message")
            );
            draft.find(Anomaly::DeletionWithoutQuit, text);
        }
        draft.findings.extend(self.tcp.left_over());
        if self.quit != Quit::Done || !over || !draft.findings.is_empty() {
            draft.remark = (over && self.quit == Quit::Unsaid && !self.seen_outside && !self.unsure).then(|| {
                let text = "Without QUIT there is no UPDATE state: marks of deletion do not count, and nothing else is lost.";
                remarks::remark(text, Some("RFC 1939 §6"))
            });
            self.row(self.last_at, draft, None, rows);
        }
    }

    /// How it ended, in a few words.
    fn how(&self, ending: Ending, over: bool) -> String {
        let source = match ending {
            Ending::Source if !over => Some("what was recorded ends before the session does"),
            Ending::Idle => Some("nothing more was heard"),
            _ => None,
        };
        let how = match (self.quit, self.tcp.reset) {
            (Quit::Done, _) => "ended by QUIT",
            (Quit::Refused, _) => "ended by QUIT, which was refused",
            (Quit::Said, _) if over => "QUIT was said, and no answer came",
            _ if self.seen_outside && over => "closed; whether by QUIT cannot be seen inside TLS",
            _ if self.unsure && over => "closed; whether by QUIT was not heard",
            (_, Some(Side::Client)) => "broken off by the client, without QUIT",
            (_, Some(Side::Server)) => "broken off by the server, without QUIT",
            _ if over => "closed without QUIT",
            _ => "",
        };
        match (how, source) {
            ("", Some(source)) => source.to_owned(),
            ("", None) => "ended".to_owned(),
            (how, _) => how.to_owned(),
        }
    }
}
