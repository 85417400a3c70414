//! The line ends of a message sent with DATA: whatever the device wrote, CRLF goes upstream, and nothing that some upstream
//! might take for the end of data but the end itself. It knows no header and no MIME.
//!
//! Old devices end lines with LF, CR or CR CR LF, and Exchange refuses what they send. Where two servers read such line
//! ends differently, one message carries another (SMTP smuggling, CVE-2023-51764). So every line end becomes CRLF, only
//! CRLF.CRLF in what the device sent ends the message (RFC 5321 section 4.1.1.4), and a dot that stands alone in any other
//! way gets a second one, which the upstream takes off again (section 4.5.2). There are servers that drop NULs: so a dot
//! that only NULs stand beside is alone too, on either side of them.

use memchr::memchr2;

/// The last line of a message sent with DATA: not part of it, but sent with it.
pub const END_LINE: &[u8] = b".\r\n";

/// The longest run of CRs before an LF that is read as one line end. In a longer one the first CRs are line ends
/// themselves, so that a run of any length needs a count and no memory.
const MAX_CRS: usize = 256;

/// How much [`LineEnds::rewrite`] may write beyond its bound, in octets.
pub const MOST_BEYOND: usize = 2 * MAX_CRS + 2;

/// Watches one message go by, in any pieces.
#[derive(Debug, Clone)]
pub struct LineEnds {
    at: At,
    /// Whether a dot between two bare LFs ends the message too.
    lone_lf_ends: bool,
}

/// Where in the message the next octet stands. What is not written yet is what the state stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineBegin(LineEnd),
    /// Behind NULs that began a line: there are servers that drop them, and would see the dot behind them alone.
    Nuls,
    Text,
    /// Behind so many CRs.
    Crs(usize),
    /// Behind a dot that began a line, not written yet.
    Dot(LineEnd),
    /// Behind such a dot and so many CRs.
    DotCrs(LineEnd, usize),
}

/// What ended the line before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    /// The DATA line: it counts as CRLF, so a dot alone is an empty message, and as whatever else ends a message here.
    DataLine,
    Crlf,
    Lf,
    /// A CR alone, or no line end at all.
    Other,
}

impl LineEnd {
    const fn is_crlf(self) -> bool {
        matches!(self, Self::DataLine | Self::Crlf)
    }
}

/// What can go upstream as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clean {
    /// How many octets, the end of data included.
    pub octets: usize,
    /// Whether the message ended with them.
    pub ended: bool,
    at: At,
}

/// What [`LineEnds::rewrite`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// How many octets of the piece it has used, the end of data included.
    pub used: usize,
    /// Whether the message ended with them. [`END_LINE`] is then still to be written.
    pub ended: bool,
}

impl LineEnds {
    /// At the first octet of a message. `lone_lf_ends`: LF.LF ends it as well, for the device that means it.
    #[must_use]
    pub const fn new(lone_lf_ends: bool) -> Self {
        Self { at: At::LineBegin(LineEnd::DataLine), lone_lf_ends }
    }

    /// How far the next piece needs no change. Nothing has been used; [`pass`](Self::pass) does that.
    #[must_use]
    pub fn clean(&self, piece: &[u8]) -> Clean {
        let (mut octets, mut at) = (0, self.at);
        loop {
            match at {
                At::LineBegin(before) => match &piece[octets..] {
                    [b'.', b'\r', b'\n', ..] if before.is_crlf() => {
                        return Clean { octets: octets + END_LINE.len(), ended: true, at };
                    }
                    [] | [0, ..] | [b'.'] | [b'.', 0 | b'\r' | b'\n', ..] => {
                        return Clean { octets, ended: false, at };
                    }
                    _ => at = At::Text,
                },
                At::Text => {
                    let rest = &piece[octets..];
                    let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    octets += end;
                    if !rest[end..].starts_with(b"\r\n") {
                        return Clean { octets, ended: false, at };
                    }
                    octets += 2;
                    at = At::LineBegin(LineEnd::Crlf);
                }
                At::Nuls | At::Crs(_) | At::Dot(_) | At::DotCrs(..) => return Clean { octets, ended: false, at },
            }
        }
    }

    /// What `clean` has found is used.
    pub const fn pass(&mut self, clean: Clean) {
        self.at = clean.at;
    }

    /// Uses the next piece and appends what is sent for it, until `out` holds `most` octets; not to be called again once
    /// the message has ended.
    pub fn rewrite(&mut self, piece: &[u8], out: &mut Vec<u8>, most: usize) -> Rewritten {
        let mut used = 0;
        while used < piece.len() && out.len() < most {
            if self.at == At::Text {
                let rest = &piece[used..];
                let count = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()).min(most - out.len());
                out.extend_from_slice(&rest[..count]);
                used += count;
                if count == rest.len() || out.len() == most {
                    break;
                }
            }
            let ended = self.step(piece[used], out);
            used += 1;
            if ended {
                return Rewritten { used, ended };
            }
        }
        Rewritten { used, ended: false }
    }

    /// One octet further; whether it ends the message.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        if octet == b'\n' {
            return self.line_feed(out);
        }
        self.at = match (self.at, octet) {
            (At::Crs(crs), b'\r') => At::Crs(one_more(crs, out)),
            (At::Dot(before), b'\r') => At::DotCrs(before, 1),
            (At::DotCrs(before, crs), b'\r') if crs < MAX_CRS => At::DotCrs(before, crs + 1),
            (At::DotCrs(_, crs), b'\r') => {
                out.extend_from_slice(b"..");
                At::Crs(one_more(crs, out))
            }
            (_, b'\r') => At::Crs(1),
            (at, octet) => {
                let at = self.lone_crs(at, out);
                text(at, octet, out)
            }
        };
        false
    }

    /// CRs that no LF has followed are line ends of their own. Says where that leaves us.
    fn lone_crs(&self, at: At, out: &mut Vec<u8>) -> At {
        let crs = match at {
            At::Crs(crs) => crs,
            At::DotCrs(_, crs) => {
                out.extend_from_slice(b"..");
                crs
            }
            _ => return at,
        };
        (0..crs).for_each(|_| out.extend_from_slice(b"\r\n"));
        At::LineBegin(LineEnd::Other)
    }

    fn line_feed(&mut self, out: &mut Vec<u8>) -> bool {
        match self.at {
            At::DotCrs(before, 1) if before.is_crlf() => return true,
            At::Dot(LineEnd::Lf | LineEnd::DataLine) if self.lone_lf_ends => return true,
            At::Dot(_) | At::DotCrs(..) => out.extend_from_slice(b".."),
            At::LineBegin(_) | At::Nuls | At::Text | At::Crs(_) => {}
        }
        out.extend_from_slice(b"\r\n");
        self.at = At::LineBegin(match self.at {
            At::Crs(_) | At::DotCrs(..) => LineEnd::Crlf,
            _ => LineEnd::Lf,
        });
        false
    }
}

/// An octet that is no line end.
fn text(at: At, octet: u8, out: &mut Vec<u8>) -> At {
    match (at, octet) {
        (At::LineBegin(before), b'.') => return At::Dot(before),
        (At::Nuls, b'.') => return At::Dot(LineEnd::Other),
        (At::Dot(_), 0) => out.extend_from_slice(b".."),
        (At::Dot(_), _) => out.push(b'.'),
        _ => {}
    }
    out.push(octet);
    if octet == 0 && matches!(at, At::LineBegin(_) | At::Nuls) { At::Nuls } else { At::Text }
}

/// Counts a CR; the first of too many is a line end.
fn one_more(crs: usize, out: &mut Vec<u8>) -> usize {
    if crs < MAX_CRS {
        return crs + 1;
    }
    out.extend_from_slice(b"\r\n");
    crs
}

#[cfg(test)]
pub(crate) mod tests;
