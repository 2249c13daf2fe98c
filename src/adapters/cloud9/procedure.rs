//! The procedures that may be called: an allow-list, and the only place that writes their names.
//!
//! All of them read. A playbook names kinds of records and never a procedure, so nothing that it or a transcript says can
//! reach one that writes.

use std::fmt;

/// A procedure that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Procedure {
    /// One patient by GUID.
    GetPatientInformation,
    /// A patient's appointments by the patient's GUID.
    GetAppointmentListByPatient,
    /// Patients by name.
    GetPortalPatientLookup,
    /// The practice's locations, with their time zones.
    GetLocations,
}

impl Procedure {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::GetPatientInformation,
        Self::GetAppointmentListByPatient,
        Self::GetPortalPatientLookup,
        Self::GetLocations,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GetPatientInformation => "GetPatientInformation",
            Self::GetAppointmentListByPatient => "GetAppointmentListByPatient",
            Self::GetPortalPatientLookup => "GetPortalPatientLookup",
            Self::GetLocations => "GetLocations",
        }
    }

    /// Reads the name; `None` for every procedure that is not on the list.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|procedure| procedure.as_str() == name)
    }
}

impl fmt::Display for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_procedures_that_read_can_be_named() {
        for procedure in Procedure::ALL {
            assert!(procedure.as_str().starts_with("Get"), "{procedure}");
            assert_eq!(Procedure::parse(procedure.as_str()), Some(procedure));
        }
        for name in [
            "SetAppointment",
            "SetPatient",
            "getlocations",
            "GetLocations ",
            "",
            "SetAppointmentStatusCanceled",
        ] {
            assert_eq!(Procedure::parse(name), None, "{name}");
        }
    }
}
