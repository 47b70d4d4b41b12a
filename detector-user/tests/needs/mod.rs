//! What a test needs of the machine.

use std::path::PathBuf;

/// Where the shared captures are, if not beside the project.
const CAPTURES: &str = "DETECTOR_TEST_CAPTURES";
/// Set where nothing may be skipped.
const NO_SKIP: &str = "DETECTOR_TEST_NO_SKIP";

/// Says why a test did not run; fails where it had to.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os(NO_SKIP).is_none(),
        "may not be skipped ({NO_SKIP} is set): {reason}"
    );
    println!("skipped: {reason}");
}

/// The folder of the shared captures.
#[allow(
    dead_code,
    reason = "not every test that includes this module reads captures"
)]
pub fn captures() -> PathBuf {
    std::env::var_os(CAPTURES).map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/data/pcap"
            ))
        },
        PathBuf::from,
    )
}
