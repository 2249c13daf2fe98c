//! Whether the file is there and is what it should be, by its first line and no other.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
};

use super::{BundleSettle, Shared, line::Head};
use crate::ports::{Probe, UpstreamError};

/// A first line that is longer than this is not read to its end.
const FIRST_LINE_BYTES: u64 = 4 << 20;

impl Shared {
    pub(super) fn probe(&self) -> Result<Probe, UpstreamError> {
        let (mut file, size) = self.open().map_err(|error| self.broken(&error))?;
        let mut probe = Probe::default();
        let path = self.config.path.display();
        if size > 0 {
            probe.ok(format!("{path} can be read: {size} bytes"));
            self.look_at_first_line(&mut file, &mut probe)
                .map_err(|error| self.broken(&error))?;
        } else if self.config.settle == BundleSettle::Idle {
            probe.ok(format!("{path} is there and empty so far"));
        } else {
            probe.warn(format!(
                "{path} is empty: write one observation per line into it, or set settle = \"idle\" where they come later"
            ));
        }
        Ok(probe)
    }

    fn look_at_first_line(&self, file: &mut File, probe: &mut Probe) -> io::Result<()> {
        let mut line = Vec::new();
        BufReader::new(file.take(FIRST_LINE_BYTES)).read_until(b'\n', &mut line)?;
        let ends = line.ends_with(b"\n");
        if !ends && line.len() as u64 == FIRST_LINE_BYTES {
            probe.ok(format!(
                "its first line is longer than {FIRST_LINE_BYTES} bytes: not looked at"
            ));
        } else if !ends && self.config.settle == BundleSettle::Idle {
            probe.ok("its first line is still being written");
        } else if let Err(reason) = Head::read(line.trim_ascii_end()) {
            probe.warn(format!(
                "its first line is no observation ({reason}): each line should be one JSON object, as the observations API answers them"
            ));
        } else {
            probe.ok("its first line is an observation");
        }
        Ok(())
    }
}
