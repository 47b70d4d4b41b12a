//! The maps of a data plane, opened: pinned ones, or those of a process.

use std::{os::fd::AsFd as _, sync::atomic::Ordering};

use aya::{
    Ebpf,
    maps::{HashMap, LpmTrie, Map, MapData, PerCpuArray},
};
use bytemuck::Pod;
use detector_common::{
    abi::{ABI_VERSION, map},
    addresses::AddressSet,
    config::{Control, Interface},
    counters::{Counters, Tally},
    key::FlowKey,
    periods::Periods,
    record::FlowRecord,
    service::ServiceCounters,
    set::Set,
    signature::Signature,
    verdict::{Hits, Kind, Verdict},
};

use super::{
    load::{LoadError, chain, errno, is_permission},
    mapping::{Access, Mapping},
    pins::{PinError, Pins},
};

/// Entries of a per-CPU array, as bytes.
pub type PerCpu<const N: usize> = PerCpuArray<MapData, [u8; N]>;

/// Everything that is read or written from outside the kernel.
pub struct Tables {
    /// One entry.
    pub control: Mapping<Control>,
    /// The flow table's tags.
    pub sets: Mapping<Set>,
    /// The flow table's records.
    pub records: Mapping<FlowRecord>,
    /// The flow table's periods.
    pub periods: Mapping<Periods>,
    /// Non-IP by EtherType.
    pub ethertypes: Mapping<Tally>,
    /// What hangs where.
    pub interfaces: Mapping<Interface>,
    /// Verdicts by slot.
    pub verdicts: Mapping<Verdict>,
    /// Bits of the signatures.
    pub signature_bits: Mapping<u64>,
    /// The signatures.
    pub signatures: Mapping<Signature>,
    /// By CPU and service.
    pub services: Mapping<ServiceCounters>,
    /// By CPU and verdict slot.
    pub hits: Mapping<Hits>,
    /// By interface and direction.
    pub counters: PerCpu<{ size_of::<Counters>() }>,
    /// Index of the next.
    pub address_sets: Mapping<AddressSet>,
    /// Slots by address.
    pub address_verdicts: HashMap<MapData, [u8; 16], u32>,
    /// Slots by prefix.
    pub prefix_verdicts: LpmTrie<MapData, [u8; 16], u32>,
    /// Slots by flow.
    pub flow_verdicts: HashMap<MapData, [u8; size_of::<FlowKey>()], u32>,
    /// Prefixes that are never blocked.
    pub never_block: LpmTrie<MapData, [u8; 16], u32>,
}

/// Why the tables cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The pin directory.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A map.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl TablesError {
    /// Whether permission was what lacked.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Pin(error) => error.is_permission(),
            Self::Load(error) => error.is_permission(),
        }
    }

    /// Whether nothing is attached.
    #[must_use]
    pub fn is_nothing_pinned(&self) -> bool {
        matches!(self, Self::Pin(PinError::NothingPinned { .. }))
    }
}

impl Tables {
    /// The tables that are pinned.
    ///
    /// # Errors
    /// [`PinError::NothingPinned`] where none are; [`LoadError::Version`] where they
    /// are of another version.
    pub fn open(pins: &Pins) -> Result<Self, TablesError> {
        pins.require_populated()?;
        let tables = Self::from_maps(|name| {
            let path = pins.map(name);
            MapData::from_pin(&path).map_err(|error| match errno(&error) {
                // The pin's own permissions, which no capability for BPF overrides.
                Some(libc::EACCES) => {
                    PinError::io("opening", &path)(std::io::ErrorKind::PermissionDenied.into())
                        .into()
                }
                _ => TablesError::from(fail("opening", name, &error)),
            })
        })?;
        let pinned = tables.control.load(0).abi_version;
        if pinned != ABI_VERSION {
            let path = pins.root().to_owned();
            return Err(LoadError::Version {
                path,
                pinned,
                own: ABI_VERSION,
            }
            .into());
        }
        Ok(tables)
    }

    /// What the verdict in a slot is on, read without the rest of it.
    #[must_use]
    pub fn verdict_kind(&self, slot: u32) -> Kind {
        const WORD: usize = std::mem::offset_of!(Verdict, kind) / 8;
        const BYTE: usize = std::mem::offset_of!(Verdict, kind) % 8;
        let word = self.verdicts.words(slot)[WORD].load(Ordering::Relaxed);
        Kind(word.to_ne_bytes()[BYTE])
    }

    /// The tables of a process that loaded the object itself.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn of(ebpf: &Ebpf) -> Result<Self, TablesError> {
        Self::from_maps(|name| {
            let missing = || LoadError::Map {
                operation: "finding",
                map: name,
                cause: "not in the object".to_owned(),
            };
            let data = match ebpf.map(name).ok_or_else(missing)? {
                Map::Array(data)
                | Map::PerCpuArray(data)
                | Map::HashMap(data)
                | Map::LpmTrie(data) => data,
                _ => return Err(missing().into()),
            };
            let own = data.fd().as_fd().try_clone_to_owned();
            let own = own.map_err(|error| fail("duplicating", name, &error))?;
            MapData::from_fd(own).map_err(|error| fail("opening", name, &error).into())
        })
    }

    fn from_maps(
        mut get: impl FnMut(&'static str) -> Result<MapData, TablesError>,
    ) -> Result<Self, TablesError> {
        Ok(Self {
            control: mapping(&mut get, map::CONTROL)?,
            sets: mapping(&mut get, map::SETS)?,
            records: mapping(&mut get, map::RECORDS)?,
            periods: mapping(&mut get, map::PERIODS)?,
            ethertypes: mapping(&mut get, map::ETHERTYPES)?,
            interfaces: mapping(&mut get, map::INTERFACES)?,
            verdicts: mapping(&mut get, map::VERDICTS)?,
            signature_bits: mapping(&mut get, map::SIGNATURE_BITS)?,
            signatures: mapping(&mut get, map::SIGNATURES)?,
            counters: typed(map::COUNTERS, Map::PerCpuArray(get(map::COUNTERS)?))?,
            services: mapping(&mut get, map::SERVICES)?,
            hits: mapping(&mut get, map::HITS)?,
            address_sets: mapping(&mut get, map::ADDRESS_SETS)?,
            address_verdicts: typed(
                map::ADDRESS_VERDICTS,
                Map::HashMap(get(map::ADDRESS_VERDICTS)?),
            )?,
            prefix_verdicts: typed(
                map::PREFIX_VERDICTS,
                Map::LpmTrie(get(map::PREFIX_VERDICTS)?),
            )?,
            flow_verdicts: typed(map::FLOW_VERDICTS, Map::HashMap(get(map::FLOW_VERDICTS)?))?,
            never_block: typed(map::NEVER_BLOCK, Map::LpmTrie(get(map::NEVER_BLOCK)?))?,
        })
    }
}

/// Whether the maps were left by a process that ended before it had made them all:
/// nothing can use them, for what hangs on interfaces comes after.
pub(super) fn are_half_made(pins: &Pins) -> bool {
    MapData::from_pin(pins.map(map::CONTROL))
        .ok()
        .and_then(|data| mapped::<Control>(map::CONTROL, &data).ok())
        .is_some_and(|control| control.load(0).abi_version == 0)
}

fn mapping<T: Pod>(
    get: &mut impl FnMut(&'static str) -> Result<MapData, TablesError>,
    name: &'static str,
) -> Result<Mapping<T>, TablesError> {
    mapped(name, &get(name)?)
}

fn mapped<T: Pod>(name: &'static str, data: &MapData) -> Result<Mapping<T>, TablesError> {
    let info = data
        .info()
        .map_err(|error| fail("asking for", name, &error))?;
    if info.value_size() as usize != size_of::<T>() {
        return Err(LoadError::Map {
            operation: "mapping",
            map: name,
            cause: format!(
                "its entries have {} bytes, not {}: it was made by another version; \
                 `detector detach` removes it",
                info.value_size(),
                size_of::<T>()
            ),
        }
        .into());
    }
    Mapping::new(data.fd().as_fd(), info.max_entries(), Access::Write)
        .map_err(|error| fail("mapping", name, &error).into())
}

fn typed<M: TryFrom<Map, Error = aya::maps::MapError>>(
    name: &'static str,
    map: Map,
) -> Result<M, LoadError> {
    M::try_from(map).map_err(|error| fail("opening", name, &error))
}

fn fail(
    operation: &'static str,
    map: &'static str,
    error: &(dyn std::error::Error + 'static),
) -> LoadError {
    if is_permission(error) {
        return LoadError::Permission {
            operation: "opening BPF maps",
        };
    }
    LoadError::Map {
        operation,
        map,
        cause: chain(error),
    }
}
