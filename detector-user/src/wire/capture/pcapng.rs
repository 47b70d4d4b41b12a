//! The pcapng format: sections of typed blocks, each with its length before and after its content.
//!
//! Section headers and interface descriptions, with their options, are left to pcap-parser. Packet blocks are read here:
//! the library collects each packet's options into a vector, which nobody wants and which costs an allocation a packet.
//! Blocks of all other types are passed over by their length.

mod clock;

use pcap_parser::pcapng::{
    BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, SHB_MAGIC, SPB_MAGIC,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
    parse_sectionheaderblock,
};

use self::clock::Clock;
use super::link::Link;
use super::record::{ByteOrder, Record};
use super::window::{WINDOW_BYTES, Window};
use super::{CaptureError, FRAME_BYTES_MAX, Fault};

/// The first bytes of a pcapng file: the type of a section header block, the same in either byte order.
pub(super) const MAGIC: [u8; 4] = SHB_MAGIC.to_le_bytes();

/// The packet block that the enhanced packet block replaced; old files have it, the library does not know it.
const OBSOLETE_PACKET: u32 = 2;

/// How many interfaces of a section are kept: each costs memory, and a file of nothing else must not exhaust it.
const INTERFACES_MAX: usize = 65_536;

/// Type and length before a block's content, and the length again after it.
const BLOCK_START: usize = 8;
const BLOCK_TRAILER: usize = 4;
const BLOCK_MIN: usize = BLOCK_START + BLOCK_TRAILER;

/// Where the captured bytes begin in each packet block.
const ENHANCED_HEADER: usize = 28;
const SIMPLE_HEADER: usize = 12;

const VERSION_MAJOR: u16 = 1;

/// What a packet block needs of the interface it belongs to.
struct Interface {
    link: Link,
    clock: Clock,
    /// The most bytes captured of a packet; 0 is no limit.
    snap_length: u32,
}

/// What a block says of its size, and where it begins, which its errors name.
#[derive(Clone, Copy)]
struct Block {
    length: u32,
    offset: u64,
}

/// Reads the packets of a pcapng file.
pub(super) struct PcapngBlocks {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// A simple packet block has no time; it is given that of the packet before it.
    time_ns: u64,
    /// Blocks begun.
    count: u64,
}

impl PcapngBlocks {
    /// Reads the first section header.
    pub(super) fn open(window: &mut Window) -> Result<Self, CaptureError> {
        let mut blocks = Self {
            order: ByteOrder::Little,
            interfaces: Vec::new(),
            time_ns: 0,
            count: 1,
        };
        if !blocks.section_header(window)? {
            return Err(window.header_cut_off());
        }
        Ok(blocks)
    }

    /// The next packet; `None` at the end of the file.
    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Record>, CaptureError> {
        loop {
            self.count += 1;
            let offset = window.offset();
            if !window.ensure(BLOCK_START)? {
                return window.end_of_records(self.count, offset);
            }
            let kind = self.order.u32(window.pending(), 0);
            let length = self.order.u32(window.pending(), 4);
            let block = Block { length, offset };
            let complete = match kind {
                EPB_MAGIC | OBSOLETE_PACKET => {
                    if self.whole(window, block, ENHANCED_HEADER + BLOCK_TRAILER)? {
                        return self.enhanced(window, block, kind).map(Some);
                    }
                    false
                }
                SPB_MAGIC => {
                    if self.whole(window, block, SIMPLE_HEADER + BLOCK_TRAILER)? {
                        return self.simple(window, block).map(Some);
                    }
                    false
                }
                SHB_MAGIC => self.section_header(window)?,
                IDB_MAGIC => self.interface(window, block)?,
                _ => self.pass_over(window, block)?,
            };
            if !complete {
                return window.end_of_records(self.count, offset);
            }
        }
    }

    /// Brings a whole block into the window; false where the file ends within it.
    #[inline]
    fn whole(
        &self,
        window: &mut Window,
        block: Block,
        minimum: usize,
    ) -> Result<bool, CaptureError> {
        let length = block.length as usize;
        if length < minimum || length > WINDOW_BYTES || !length.is_multiple_of(4) {
            return Err(self.bad_length(window, block, minimum, WINDOW_BYTES));
        }
        if !window.ensure(length)? {
            return Ok(false);
        }
        let trailing = self.order.u32(window.pending(), length - BLOCK_TRAILER);
        self.check_trailer(window, block, trailing)?;
        Ok(true)
    }

    /// Takes an enhanced or obsolete packet block that is whole in the window.
    #[inline]
    fn enhanced(
        &mut self,
        window: &mut Window,
        block: Block,
        kind: u32,
    ) -> Result<Record, CaptureError> {
        let header = &window.pending()[..ENHANCED_HEADER];
        let number = |at| self.order.u32(header, at);
        let interface = match kind {
            // The other half of the field counts dropped packets.
            OBSOLETE_PACKET => u32::from(self.order.u16(header, 8)),
            _ => number(8),
        };
        let ticks = u64::from(number(12)) << 32 | u64::from(number(16));
        let (captured, original) = (number(20), number(24));
        let Some(Interface { link, clock, .. }) = self.interfaces.get(interface as usize) else {
            return Err(self.undescribed(window, block, interface));
        };
        let (time_ns, link) = (clock.time_ns(ticks), *link);
        let at = self.take(window, block, captured as usize, ENHANCED_HEADER)?;
        self.time_ns = time_ns;
        Ok(Record {
            time_ns,
            at,
            captured: captured as usize,
            original: original as usize,
            link,
        })
    }

    /// Takes a simple packet block that is whole in the window.
    fn simple(&mut self, window: &mut Window, block: Block) -> Result<Record, CaptureError> {
        let original = self.order.u32(window.pending(), 8);
        let Some(Interface {
            link, snap_length, ..
        }) = self.interfaces.first()
        else {
            return Err(self.undescribed(window, block, 0));
        };
        let limit = match *snap_length {
            0 => u32::MAX,
            limit => limit,
        };
        // The block has no captured length: it is the original one, unless the snap length cut it. Capturing programs
        // do not all write the snap length that they apply, hence the second bound.
        let room = block.length as usize - SIMPLE_HEADER - BLOCK_TRAILER;
        let captured = (original.min(limit) as usize).min(room);
        let link = *link;
        Ok(Record {
            time_ns: self.time_ns,
            at: self.take(window, block, captured, SIMPLE_HEADER)?,
            captured,
            original: original as usize,
            link,
        })
    }

    /// Takes the block of a packet whose captured bytes begin `header` bytes into it, and says where they lie.
    #[inline]
    fn take(
        &self,
        window: &mut Window,
        block: Block,
        captured: usize,
        header: usize,
    ) -> Result<usize, CaptureError> {
        let length = block.length as usize;
        let room = length - header - BLOCK_TRAILER;
        if captured > room.min(FRAME_BYTES_MAX) {
            return Err(self.too_long(window, block, captured, room));
        }
        Ok(window.take(length) + header)
    }

    /// Begins a section: byte order and interfaces are those of the section. False where the file ends within it.
    fn section_header(&mut self, window: &mut Window) -> Result<bool, CaptureError> {
        const MINIMUM: usize = 28;
        let offset = window.offset();
        if !window.ensure(BLOCK_MIN)? {
            return Ok(false);
        }
        let magic = [8, 9, 10, 11].map(|at| window.pending()[at]);
        self.order = if magic == BOM_MAGIC.to_le_bytes() {
            ByteOrder::Little
        } else if magic == BOM_MAGIC.to_be_bytes() {
            ByteOrder::Big
        } else {
            return Err(self.malformed(window, offset, Fault::ByteOrder { magic }));
        };
        let block = Block {
            length: self.order.u32(window.pending(), 4),
            offset,
        };
        if !self.whole(window, block, MINIMUM)? {
            return Ok(false);
        }
        let bytes = &window.pending()[..block.length as usize];
        let (major, minor) = match parse_sectionheaderblock(bytes) {
            Ok((_, header)) => (header.major_version, header.minor_version),
            Err(_) => {
                let fault = Fault::Unparsable {
                    block: "section header",
                };
                return Err(self.malformed(window, offset, fault));
            }
        };
        if major != VERSION_MAJOR {
            return Err(CaptureError::Version {
                path: window.path().to_owned(),
                offset,
                major,
                minor,
                supported: "1.x",
            });
        }
        self.interfaces.clear();
        window.take(block.length as usize);
        Ok(true)
    }

    /// Reads an interface description; false where the file ends within it.
    fn interface(&mut self, window: &mut Window, block: Block) -> Result<bool, CaptureError> {
        const MINIMUM: usize = 20;
        if !self.whole(window, block, MINIMUM)? {
            return Ok(false);
        }
        if self.interfaces.len() == INTERFACES_MAX {
            let fault = Fault::TooManyInterfaces {
                limit: INTERFACES_MAX,
            };
            return Err(self.malformed(window, block.offset, fault));
        }
        let bytes = &window.pending()[..block.length as usize];
        let parsed = match self.order {
            ByteOrder::Little => parse_interfacedescriptionblock_le(bytes),
            ByteOrder::Big => parse_interfacedescriptionblock_be(bytes),
        };
        let described = match parsed {
            Ok((_, description)) => described(&description, self.order),
            Err(_) => Err(Fault::Unparsable {
                block: "interface description",
            }),
        };
        match described {
            Ok(interface) => self.interfaces.push(interface),
            Err(fault) => return Err(self.malformed(window, block.offset, fault)),
        }
        window.take(block.length as usize);
        Ok(true)
    }

    /// Passes over a block that says nothing about packets, which may be longer than the window.
    fn pass_over(&self, window: &mut Window, block: Block) -> Result<bool, CaptureError> {
        let length = block.length as usize;
        if length < BLOCK_MIN || !length.is_multiple_of(4) {
            return Err(self.bad_length(window, block, BLOCK_MIN, u32::MAX as usize));
        }
        if !window.skip(length - BLOCK_TRAILER)? || !window.ensure(BLOCK_TRAILER)? {
            return Ok(false);
        }
        let trailing = self.order.u32(window.pending(), 0);
        self.check_trailer(window, block, trailing)?;
        window.take(BLOCK_TRAILER);
        Ok(true)
    }

    #[inline]
    fn check_trailer(
        &self,
        window: &Window,
        block: Block,
        trailing: u32,
    ) -> Result<(), CaptureError> {
        if trailing == block.length {
            return Ok(());
        }
        let fault = Fault::BlockTrailer {
            leading: block.length,
            trailing,
        };
        Err(self.malformed(window, block.offset, fault))
    }

    #[cold]
    fn undescribed(&self, window: &Window, block: Block, interface: u32) -> CaptureError {
        let described = self.interfaces.len();
        let fault = Fault::UndescribedInterface {
            interface,
            described,
        };
        self.malformed(window, block.offset, fault)
    }

    #[cold]
    fn too_long(
        &self,
        window: &Window,
        block: Block,
        captured: usize,
        room: usize,
    ) -> CaptureError {
        let fault = if captured > room {
            Fault::PacketInBlock { captured, room }
        } else {
            let limit = FRAME_BYTES_MAX;
            Fault::CapturedLength { captured, limit }
        };
        self.malformed(window, block.offset, fault)
    }

    #[cold]
    fn bad_length(
        &self,
        window: &Window,
        block: Block,
        minimum: usize,
        limit: usize,
    ) -> CaptureError {
        let fault = Fault::BlockLength {
            length: block.length,
            minimum,
            limit,
        };
        self.malformed(window, block.offset, fault)
    }

    #[cold]
    fn malformed(&self, window: &Window, offset: u64, fault: Fault) -> CaptureError {
        CaptureError::Malformed {
            path: window.path().to_owned(),
            record: self.count,
            offset,
            fault,
        }
    }
}

fn described(
    description: &InterfaceDescriptionBlock<'_>,
    order: ByteOrder,
) -> Result<Interface, Fault> {
    Ok(Interface {
        // The field is 16 bits wide; the library widens it.
        link: Link::from_number(description.linktype.0 as u16),
        clock: Clock::from_options(&description.options, order)?,
        snap_length: description.snaplen,
    })
}
