//! The file of an ensemble.

use bytemuck::{allocation::pod_collect_to_vec, cast_slice};
use sha2::{Digest as _, Sha256};

use super::{
    card::Card,
    ensemble::{CLASSES_MAX, Ensemble, TREES_MAX, within},
    error::ModelError,
};

const _: () = assert!(
    cfg!(target_endian = "little"),
    "models are cast to and from little-endian arrays"
);

const MAGIC: [u8; 8] = *b"detmodel";
const VERSION: u32 = 1;

/// Where each section begins: a cache line, so that a mapped file is aligned for any array.
const ALIGNMENT: u64 = 64;

/// Bytes of the header: magic (8), version, trees, nodes, values of a node (4 each), card's bytes (8),
/// SHA-256 of all else in the file (32).
const HEADER_BYTES: usize = 64;
const CHECKSUM_AT: usize = 32;

/// Where the sections of a file lie; the counts alone decide.
struct Layout {
    starts: u64,
    nodes: u64,
    values: u64,
    card: u64,
    end: u64,
}

impl Layout {
    /// No sum here can overflow: the counts are 32 bits wide and `width` at most
    /// [`CLASSES_MAX`]; the card's length saturates.
    fn of(trees: u32, nodes: u32, width: u32, card_bytes: u64) -> Self {
        let after = |at: u64, bytes: u64| (at + bytes).next_multiple_of(ALIGNMENT);
        let starts = HEADER_BYTES as u64;
        let nodes_at = after(starts, (u64::from(trees) + 1) * 4);
        let values = after(nodes_at, u64::from(nodes) * 8);
        let card = after(values, u64::from(nodes) * u64::from(width) * 4);
        Self {
            starts,
            nodes: nodes_at,
            values,
            card,
            end: card.saturating_add(card_bytes),
        }
    }

    /// What a file that ends after so many bytes ends in.
    fn section_at(&self, bytes: u64) -> &'static str {
        match bytes {
            _ if bytes < self.nodes => "the list of trees",
            _ if bytes < self.values => "the section of nodes",
            _ if bytes < self.card => "the section of values",
            _ => "the card",
        }
    }
}

impl Ensemble {
    /// The file that [`Ensemble::from_bytes`] reads.
    ///
    /// # Errors
    /// [`ModelError::Json`] where the card cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let card = serde_json::to_vec(&self.card)?;
        let (trees, nodes, width) = (self.trees(), self.nodes.len(), self.card.node_values());
        let layout = Layout::of(trees as u32, nodes as u32, width as u32, card.len() as u64);
        let mut bytes = Vec::with_capacity(layout.end as usize);
        bytes.extend_from_slice(&MAGIC);
        for count in [VERSION, trees as u32, nodes as u32, width as u32] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes.extend_from_slice(&(card.len() as u64).to_le_bytes());
        let sections: [(u64, &[u8]); 4] = [
            (layout.starts, cast_slice(&self.starts)),
            (layout.nodes, cast_slice(&self.nodes)),
            (layout.values, cast_slice(&self.values)),
            (layout.card, &card),
        ];
        for (at, section) in sections {
            bytes.resize(at as usize, 0);
            bytes.extend_from_slice(section);
        }
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum);
        Ok(bytes)
    }

    /// Reads and checks a file. Nothing in it is trusted: a file made to mislead is refused or
    /// is a model like any other.
    ///
    /// # Errors
    /// [`ModelError`] says what is wrong with the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ModelError::NotAModel);
        }
        let (Some(version), Some(header)) =
            (bytes.get(8..12).map(number), bytes.get(..HEADER_BYTES))
        else {
            return Err(ModelError::Length {
                found: bytes.len() as u64,
                wanted: HEADER_BYTES as u64,
                section: "the header",
            });
        };
        if version != u64::from(VERSION) {
            return Err(ModelError::Version {
                found: version as u32,
                known: VERSION,
            });
        }
        let count = |at: usize| number(&header[at..at + 4]) as u32;
        let (trees, nodes, width) = (count(12), count(16), count(20));
        within("trees", trees as usize, TREES_MAX)?;
        within("values of a node", width as usize, CLASSES_MAX)?;
        let layout = Layout::of(trees, nodes, width, number(&header[24..32]));
        if layout.end != bytes.len() as u64 {
            return Err(ModelError::Length {
                found: bytes.len() as u64,
                wanted: layout.end,
                section: layout.section_at(bytes.len() as u64),
            });
        }
        if header[CHECKSUM_AT..] != checksum(bytes) {
            return Err(ModelError::Checksum);
        }
        // The layout ends where the file does, so every section lies inside it.
        let section = |at: u64, length: u64| &bytes[at as usize..(at + length) as usize];
        let card: Card = serde_json::from_slice(&bytes[layout.card as usize..])?;
        if card.node_values() != width as usize {
            return Err(ModelError::Card {
                field: "summation",
                cause: format!("wants not the {width} values a node of its header"),
            });
        }
        let starts = section(layout.starts, (u64::from(trees) + 1) * 4);
        let values = u64::from(nodes) * u64::from(width) * 4;
        Self::checked(
            card,
            pod_collect_to_vec(starts),
            pod_collect_to_vec(section(layout.nodes, u64::from(nodes) * 8)),
            pod_collect_to_vec(section(layout.values, values)),
        )
    }
}

/// Up to eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// SHA-256 of a file without the place where it is kept.
fn checksum(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&bytes[..CHECKSUM_AT]);
    hash.update(bytes.get(HEADER_BYTES..).unwrap_or(&[]));
    hash.finalize().into()
}
