//! What the fuzzer runs, under a thousand tapes of a generator: so it is compiled and run every time.

#[path = "tapes/scenario.rs"]
mod scenario;

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// The longest tape, in bytes.
const LENGTH_MAX: usize = 4096;

#[test]
fn no_tape_loses_a_byte() {
    let mut random = Pcg32::new(1, 1);
    for number in 0..1000 {
        // From the empty one on; half of them short, so that the harmless choices behind the end are met.
        let limit = if number % 2 == 0 { 128 } else { LENGTH_MAX };
        let mut tape = vec![0; random.next_u32() as usize % limit];
        random.fill_bytes(&mut tape);
        scenario::run(&tape);
    }
    scenario::run(&[]);
}
