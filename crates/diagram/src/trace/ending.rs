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
        let (end, ending) = self.how(ending, over);
        (self.summary.end, self.summary.ending) = (end, ending.to_owned());
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

    /// How it ended, as one word and in a few.
    fn how(&self, ending: Ending, over: bool) -> (&'static str, &'static str) {
        match (self.quit, self.tcp.reset) {
            (Quit::Done, _) => ("quit", "ended by QUIT"),
            (Quit::Refused, _) => ("quit-refused", "ended by QUIT, which was refused"),
            (Quit::Said, _) if over => ("quit-unanswered", "QUIT was said, and no answer came"),
            _ if self.seen_outside && over => ("unseen", "closed; whether by QUIT cannot be seen inside TLS"),
            _ if self.unsure && over => ("unseen", "closed; whether by QUIT was not heard"),
            (_, Some(Side::Client)) => ("reset-by-client", "broken off by the client, without QUIT"),
            (_, Some(Side::Server)) => ("reset-by-server", "broken off by the server, without QUIT"),
            _ if over => ("closed", "closed without QUIT"),
            _ if ending == Ending::Idle => ("unfinished", "nothing more was heard"),
            _ => ("unfinished", "what was recorded ends before the session does"),
        }
    }
}
