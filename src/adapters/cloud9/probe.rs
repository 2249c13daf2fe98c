//! What a person should know before the first session is checked: that it answers, lets us in, and in which zone it lives.

use super::{Cloud9, ask::Said, procedure::Procedure, request::Question, zones::Zones};
use crate::ports::{Probe, UpstreamError};

impl Cloud9 {
    /// Asks for the locations: it needs no patient.
    pub(super) async fn try_locations(&self) -> Result<Probe, UpstreamError> {
        let mut probe = Probe::default();
        match self.ask(&Question::new(Procedure::GetLocations)).await {
            Ok((Said::Records(locations), _)) => {
                probe.ok(format!(
                    "GetLocations answers, number of locations: {}",
                    locations.len()
                ));
                self.probe_zones(&Zones::of_locations(&locations), &mut probe);
            }
            Ok((Said::Refused(code, words), _)) => {
                probe.warn(format!(
                    "GetLocations is refused (error code {code}: {words}): set `timezone`, the practice's zone cannot be asked for"
                ));
            }
            Err(error) if error.detail.contains("(error code 10)") => {
                probe.warn("it answers and lets us in, but GetLocations is not authorised for our user (error code 10): set `timezone`");
            }
            Err(error) => return Err(error),
        }
        if self.config.allowed_hours.is_none() {
            probe.ok("no allowed_hours are set: when it says that it is closed, it is tried again every 15 minutes");
        }
        Ok(probe)
    }

    fn probe_zones(&self, zones: &Zones, probe: &mut Probe) {
        match self.config.timezone {
            Some(zone) => probe.ok(format!("times are read in {zone}, as configured")),
            None if zones.known() > 0 => probe.ok("its locations give the time zone"),
            None => {
                probe.warn("its locations give no time zone that is known: set `timezone`, else the playbook's counts");
            }
        }
    }
}
