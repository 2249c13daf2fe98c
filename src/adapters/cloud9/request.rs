//! What is sent: a `GetDataRequest`, in which no value can leave its element.

use quick_xml::escape::escape;

use super::procedure::Procedure;
use crate::adapters::{plain_text::one_line, secret::Secret};

/// The namespace of requests.
const NAMESPACE: &str = "http://schemas.practica.ws/cloud9/partners/";

/// Longer values are no GUIDs and no names.
const LONGEST_VALUE: usize = 200;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The partner's client.
    pub client_id: Secret,
    /// The user.
    pub user: Secret,
    /// The password.
    pub password: Secret,
}

/// A procedure with its parameters, each a name of ours and a value that may come from a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    procedure: Procedure,
    parameters: Vec<(&'static str, String)>,
}

impl Question {
    /// Without parameters.
    pub(super) fn new(procedure: Procedure) -> Self {
        Self {
            procedure,
            parameters: Vec::new(),
        }
    }

    /// With one more parameter.
    ///
    /// # Errors
    /// Says why a value cannot be sent.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Result<Self, String> {
        if value.trim().is_empty() {
            return Err(format!("{name} is empty"));
        }
        if value.chars().count() > LONGEST_VALUE {
            return Err(format!("{name} is longer than {LONGEST_VALUE} characters"));
        }
        if !value.chars().all(is_xml) {
            return Err(format!("{name} holds characters that XML cannot carry"));
        }
        self.parameters.push((name, value.to_owned()));
        Ok(self)
    }

    /// What is called.
    pub(super) fn procedure(&self) -> Procedure {
        self.procedure
    }

    /// The body to send.
    pub(super) fn to_xml(&self, credentials: &Credentials) -> String {
        let mut parameters = String::new();
        for (name, value) in &self.parameters {
            push_element(&mut parameters, name, value);
        }
        let mut inner = String::new();
        push_element(&mut inner, "ClientID", credentials.client_id.expose());
        push_element(&mut inner, "UserName", credentials.user.expose());
        push_element(&mut inner, "Password", credentials.password.expose());
        push_element(&mut inner, "Procedure", self.procedure.as_str());
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<GetDataRequest xmlns=\"{NAMESPACE}\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">{inner}<Parameters>{parameters}</Parameters></GetDataRequest>"
        )
    }

    /// As evidence: procedure and parameters, without credentials.
    pub(super) fn to_evidence(&self) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", one_line(value, LONGEST_VALUE)))
            .collect();
        format!("{}({})", self.procedure, parameters.join(", "))
    }
}

fn push_element(xml: &mut String, name: &str, value: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    xml.push_str(&escape(value));
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

/// The characters of XML 1.0; the others cannot stand there, escaped or not.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            client_id: Secret::new("client-1"),
            user: Secret::new("user & <co>"),
            password: Secret::new("p]]>\"'<&"),
        }
    }

    fn by_patient(value: &str) -> Result<Question, String> {
        Question::new(Procedure::GetAppointmentListByPatient).with("patGUID", value)
    }

    #[test]
    fn the_request_is_the_documented_one() {
        let xml = by_patient("59D26B3E-2725-460D-9FD7-BD9C03452B86")
            .unwrap()
            .to_xml(&credentials());
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <GetDataRequest xmlns=\"http://schemas.practica.ws/cloud9/partners/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             <ClientID>client-1</ClientID><UserName>user &amp; &lt;co&gt;</UserName>\
             <Password>p]]&gt;&quot;&apos;&lt;&amp;</Password>\
             <Procedure>GetAppointmentListByPatient</Procedure>\
             <Parameters><patGUID>59D26B3E-2725-460D-9FD7-BD9C03452B86</patGUID></Parameters></GetDataRequest>"
        );
    }

    #[test]
    fn no_value_of_a_transcript_leaves_its_element() {
        for value in [
            "</patGUID><patGUID>other",
            "</patGUID></Parameters><Procedure>SetAppointment</Procedure><Parameters><patGUID>",
            "<![CDATA[x]]>",
            "]]>",
            "<!-- -->",
            "&lt;&#60;&x;",
            "<?xml?>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]>",
            "\"'><",
        ] {
            let xml = by_patient(value).unwrap().to_xml(&credentials());
            let (_, rest) = xml.split_once("<patGUID>").unwrap();
            let (inside, after) = rest.split_once("</patGUID>").unwrap();
            assert!(!inside.contains(['<', '>']), "{value}: {inside}");
            assert_eq!(after, "</Parameters></GetDataRequest>", "{value}");
            assert_eq!(quick_xml::escape::unescape(inside).unwrap(), value);
            assert_eq!(xml.matches("<Procedure>").count(), 1, "{value}");
        }
    }

    #[test]
    fn what_xml_cannot_carry_is_not_asked_and_not_repeated() {
        for value in ["", "  ", "a\u{0}b", "\u{1b}[31m", "\u{fffe}", &"x".repeat(201)] {
            let reason = by_patient(value).unwrap_err();
            assert!(
                reason.starts_with("patGUID ") && !reason.contains('\u{1b}') && reason.len() < 80,
                "{reason}"
            );
        }
    }

    #[test]
    fn evidence_names_the_procedure_and_its_parameters_and_no_secret() {
        let question = by_patient("AB\ncd").unwrap();
        assert_eq!(question.to_evidence(), "GetAppointmentListByPatient(patGUID=AB cd)");
        let shown = format!("{:?}", credentials());
        assert!(!shown.contains("client-1") && !shown.contains("p]]"), "{shown}");
    }
}
