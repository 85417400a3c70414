//! How much of a session is shown: what a device can make long is counted, so that the rest can be seen.

/// How many lines of a device are shown of one read, and how many of the answers to it.
const OF_ONE_READ: u32 = 32;

/// How many lines of a session are shown until it has shown that it may be here, and anew each time that it does.
const OF_A_SESSION: u32 = 384;

/// What is left to be shown, and what was not.
#[derive(Debug)]
pub(super) struct Room {
    device: u32,
    answers: u32,
    session: u32,
    /// Lines of the device, and of answers, that were counted and not shown.
    hidden: u32,
    hidden_answers: u32,
    /// What stands for a line that is counted, if it stays the only one.
    alone: Option<String>,
}

impl Room {
    pub(super) const fn new() -> Self {
        Self {
            device: OF_ONE_READ,
            answers: OF_ONE_READ,
            session: OF_A_SESSION,
            hidden: 0,
            hidden_answers: 0,
            alone: None,
        }
    }

    /// The session may be shown for as long again.
    pub(super) const fn renew(&mut self) {
        self.session = OF_A_SESSION;
    }

    /// The device has said more, after it was told what there was to tell.
    pub(super) fn at_a_read(&mut self, lines: &mut Vec<String>) {
        self.count_up(lines);
        (self.device, self.answers) = (OF_ONE_READ, OF_ONE_READ);
    }

    /// A line of the device.
    pub(super) fn show(&mut self, line: String, lines: &mut Vec<String>) {
        if self.device == 0 {
            self.hidden = self.hidden.saturating_add(1);
            self.alone = None;
            return;
        }
        self.count_up(lines);
        self.device -= 1;
        self.put(line, lines);
    }

    /// A line of the device that is not to be seen; `alone` stands for it where no other such line is beside it.
    pub(super) fn hide(&mut self, alone: String, lines: &mut Vec<String>) {
        if self.hidden_answers > 0 {
            self.count_up(lines);
        }
        self.alone = (self.hidden == 0).then_some(alone);
        self.hidden = self.hidden.saturating_add(1);
    }

    /// A line of an answer.
    pub(super) fn show_answer(&mut self, line: String, lines: &mut Vec<String>) {
        if self.answers == 0 {
            self.hidden_answers = self.hidden_answers.saturating_add(1);
            return;
        }
        self.count_up(lines);
        self.answers -= 1;
        self.put(line, lines);
    }

    /// Says how many were not shown.
    pub(super) fn count_up(&mut self, lines: &mut Vec<String>) {
        let (hidden, answers) = (std::mem::take(&mut self.hidden), std::mem::take(&mut self.hidden_answers));
        match (self.alone.take(), hidden) {
            (_, 0) => {}
            (Some(alone), 1) => self.put(alone, lines),
            _ => self.put(format!("device -> ({hidden} lines not shown)"), lines),
        }
        if answers > 0 {
            self.put(format!("device <- ({answers} lines not shown)"), lines);
        }
    }

    fn put(&mut self, line: String, lines: &mut Vec<String>) {
        match self.session {
            0 => return,
            1 => lines.push("-- (more not shown: this session has said very much)".into()),
            _ => lines.push(line),
        }
        self.session -= 1;
    }
}
