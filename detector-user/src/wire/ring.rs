//! The kernel's ring buffers, read without waiting.

use std::marker::PhantomData;

use aya::maps::{Map, MapData, RingBuf};
use bytemuck::Pod;

use super::{
    load::{LoadError, chain},
    pins::Pins,
};

/// A ring of events of one type.
pub struct Ring<T> {
    ring: RingBuf<MapData>,
    events: PhantomData<T>,
}

impl<T: Pod> Ring<T> {
    /// The pinned ring of this name. Who reads takes events from all other readers.
    ///
    /// # Errors
    /// [`LoadError`] where it is not there or may not be opened.
    pub fn open(pins: &Pins, map: &'static str) -> Result<Self, LoadError> {
        let failed = |error: &(dyn std::error::Error + 'static)| LoadError::Map {
            operation: "opening",
            map,
            cause: chain(error),
        };
        let data = MapData::from_pin(pins.map(map)).map_err(|error| failed(&error))?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(|error| failed(&error))?;
        Ok(Self {
            ring,
            events: PhantomData,
        })
    }

    /// The events that are there, at most `max`.
    pub fn take(&mut self, max: usize, mut visit: impl FnMut(&T)) {
        for _ in 0..max {
            let Some(item) = self.ring.next() else {
                return;
            };
            if let Some(bytes) = item.get(..size_of::<T>()) {
                visit(&bytemuck::pod_read_unaligned(bytes));
            }
        }
    }
}
