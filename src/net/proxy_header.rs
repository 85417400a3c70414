//! The PROXY protocol's header, versions 1 and 2 (HAProxy's proxy-protocol.txt, section 2): for whom a proxy speaks. Octets
//! in, an announcement out; knows no socket, and decides on nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The longest header of version 1, its CRLF included, in octets (section 2.1).
pub const MAX_V1: usize = 107;

/// The longest header of version 2 that is taken, in octets. Addresses and what proxies tell of themselves take a few
/// hundred; the length field could say 64 KiB.
pub const MAX_V2: usize = V2_START + 2048;

/// What a header of version 1 begins with.
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// What a header of version 2 begins with (section 2.2). No server of a mail protocol understands it as a command.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, and the length of the rest.
const V2_START: usize = 16;

/// What a proxy says of the connection it has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// It speaks for a client.
    Proxied {
        /// The client. An IPv4 address that came as an IPv6 one (`::ffff:…`) is IPv4 here.
        source: SocketAddr,
        /// Whether the client speaks TLS to the proxy: the SSL field says so, and nothing else does.
        encrypted: bool,
    },
    /// It speaks for itself (a health check), or does not tell for whom: LOCAL, UNKNOWN, or a family without TCP ports.
    Local,
}

/// These octets are no header. The text is ours: it holds nothing the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoHeader(&'static str);

/// Whether somebody who sends this first means a header.
#[must_use]
pub fn is_begun(octets: &[u8]) -> bool {
    octets.starts_with(V1_SIGNATURE) || octets.starts_with(V2_SIGNATURE)
}

/// Reads one header, however it comes in pieces, and no octet beyond it.
#[derive(Debug, Default)]
pub struct HeaderReader {
    /// What has come of it.
    octets: Vec<u8>,
}

impl HeaderReader {
    /// Takes of `octets`, which are the next ones, as many as surely belong to the header: says how many those were, and
    /// what the header announces once it is whole. Where it is not, and `octets` is not empty, at least one was taken.
    ///
    /// # Errors
    /// As soon as the octets cannot become a header that is taken.
    pub fn take(&mut self, octets: &[u8]) -> Result<(usize, Option<Announced>), NoHeader> {
        let mut taken = 0;
        loop {
            let missing = match self.missing()? {
                Missing::Octets(count) => count,
                Missing::LineEnd(most) => {
                    let left = &octets[taken..];
                    left.iter()
                        .position(|octet| *octet == b'\n')
                        .map_or(left.len(), |at| at + 1)
                        .min(most)
                }
                Missing::Nothing(announced) => return Ok((taken, Some(announced))),
            };
            let count = missing.min(octets.len() - taken);
            if count == 0 {
                return Ok((taken, None));
            }
            self.octets.extend_from_slice(&octets[taken..taken + count]);
            taken += count;
        }
    }

    /// How much may be taken without reading beyond the header, or what the header says.
    fn missing(&self) -> Result<Missing, NoHeader> {
        let octets = &self.octets[..];
        // Both signatures are told apart by their first octet.
        let signature = if octets.first() == Some(&b'P') { V1_SIGNATURE } else { V2_SIGNATURE };
        let compared = octets.len().min(signature.len());
        if octets[..compared] != signature[..compared] {
            return Err(NoHeader("it begins like no PROXY header"));
        }
        if compared < V1_SIGNATURE.len() {
            return Ok(Missing::Octets(V1_SIGNATURE.len() - compared));
        }
        if signature == V1_SIGNATURE {
            return match octets.strip_suffix(b"\n") {
                Some(line) => v1(line).map(Missing::Nothing),
                None if octets.len() < MAX_V1 => Ok(Missing::LineEnd(MAX_V1 - octets.len())),
                None => Err(NoHeader("its line is longer than 107 octets")),
            };
        }
        let Some((start, rest)) = octets.split_first_chunk::<V2_START>() else {
            return Ok(Missing::Octets(V2_START - octets.len()));
        };
        let length = usize::from(u16::from_be_bytes([start[14], start[15]]));
        if V2_START + length > MAX_V2 {
            return Err(NoHeader("it is longer than 2 KiB"));
        }
        if rest.len() < length {
            return Ok(Missing::Octets(length - rest.len()));
        }
        v2(octets, start[12], start[13], rest).map(Missing::Nothing)
    }
}

/// What a header wants before it is whole.
enum Missing {
    /// At least so many octets more.
    Octets(usize),
    /// A line's end, at most so many octets from here.
    LineEnd(usize),
    Nothing(Announced),
}

/// Section 2.1. `line` is what stands before the LF.
fn v1(line: &[u8]) -> Result<Announced, NoHeader> {
    const BROKEN: NoHeader = NoHeader("its line is not as version 1 of the protocol writes it");
    let line = line.strip_suffix(b"\r").ok_or(BROKEN)?;
    let line = std::str::from_utf8(line).map_err(|_| BROKEN)?;
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().ok_or(BROKEN);
    let family = next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Ok(Announced::Local);
    }
    let addresses = (next()?, next()?);
    let ports = (port(next()?).ok_or(BROKEN)?, port(next()?).ok_or(BROKEN)?);
    if words.next().is_some() {
        return Err(BROKEN);
    }
    let parsed: Option<(IpAddr, IpAddr)> = match family {
        "TCP4" => both::<Ipv4Addr>(addresses),
        "TCP6" => both::<Ipv6Addr>(addresses),
        _ => None,
    };
    let (source, _) = parsed.ok_or(BROKEN)?;
    Ok(proxied(source, ports.0, false))
}

/// Two addresses of one family.
fn both<A: std::str::FromStr + Into<IpAddr>>((source, destination): (&str, &str)) -> Option<(IpAddr, IpAddr)> {
    Some((source.parse::<A>().ok()?.into(), destination.parse::<A>().ok()?.into()))
}

/// A port without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

fn proxied(source: IpAddr, port: u16, encrypted: bool) -> Announced {
    Announced::Proxied { source: SocketAddr::new(source.to_canonical(), port), encrypted }
}

/// Section 2.2. `whole` is all of the header, `rest` what its length field counts.
fn v2(whole: &[u8], version_and_command: u8, family: u8, rest: &[u8]) -> Result<Announced, NoHeader> {
    const SHORT: NoHeader = NoHeader("it is too short for its addresses");
    match version_and_command {
        // LOCAL: whatever follows, family and addresses included, is to be ignored.
        0x20 => return Ok(Announced::Local),
        0x21 => {}
        _ => return Err(NoHeader("its version or command is none that is known")),
    }
    let (source, fields) = match (family >> 4, family & 0x0f) {
        (1, 0..=2) => {
            let (addresses, fields) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, .., high, low, _, _] = *addresses;
            (Some((IpAddr::from([a, b, c, d]), u16::from_be_bytes([high, low]))), fields)
        }
        (2, 0..=2) => {
            let (addresses, fields) = rest.split_first_chunk::<36>().ok_or(SHORT)?;
            let (source, ports) = addresses.split_first_chunk::<16>().ok_or(SHORT)?;
            (Some((IpAddr::from(*source), u16::from_be_bytes([ports[16], ports[17]]))), fields)
        }
        // Sockets of the proxy's own machine, which have paths and no addresses.
        (3, 0..=2) => (None, rest.get(216..).ok_or(SHORT)?),
        // No addresses are known, and how long they would be is not said.
        (0, 0..=2) => return Ok(Announced::Local),
        _ => return Err(NoHeader("its address family is none that is known")),
    };
    let encrypted = fields_say_encrypted(whole, fields)?;
    match source {
        // Over TCP, which is what arrives here.
        Some((address, port)) if family & 0x0f == 1 => Ok(proxied(address, port, encrypted)),
        _ => Ok(Announced::Local),
    }
}

/// PP2_TYPE_CRC32C.
const CHECKSUM: u8 = 0x03;

/// PP2_TYPE_SSL.
const SSL: u8 = 0x20;

/// PP2_CLIENT_SSL: the client speaks TLS.
const CLIENT_SSL: u8 = 0x01;

/// Goes through the fields behind the addresses (section 2.2.1): whether the client speaks TLS. A checksum that is there
/// must be right; it costs little, and a header that was damaged on its way is worth nothing.
fn fields_say_encrypted(whole: &[u8], mut fields: &[u8]) -> Result<bool, NoHeader> {
    const BROKEN: NoHeader = NoHeader("one of its fields is broken");
    let mut encrypted = false;
    while !fields.is_empty() {
        let (&[kind, high, low], rest) = fields.split_first_chunk::<3>().ok_or(BROKEN)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, next) = rest.split_at_checked(length).ok_or(BROKEN)?;
        match kind {
            CHECKSUM => {
                let sum = u32::from_be_bytes(value.try_into().map_err(|_| BROKEN)?);
                // The fields are the end of the header, so what is left of them says where this one is.
                let at = whole.len() - next.len() - value.len();
                if checksum(&whole[..at], &whole[at + value.len()..]) != sum {
                    return Err(NoHeader("its checksum is wrong"));
                }
            }
            // One octet of bits and four of what became of the client's certificate come first.
            SSL => encrypted |= value.first_chunk::<5>().ok_or(BROKEN)?[0] & CLIENT_SSL != 0,
            _ => {}
        }
        fields = next;
    }
    Ok(encrypted)
}

/// CRC32c (RFC 9260 appendix A) of a header, the checksum between `before` and `after` counted as zeros.
fn checksum(before: &[u8], after: &[u8]) -> u32 {
    let octets = before.iter().chain(&[0; 4]).chain(after);
    !octets.fold(u32::MAX, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0x82f6_3b78 })
    })
}

#[cfg(test)]
mod tests;
