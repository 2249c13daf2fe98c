use super::*;
use crate::domain::observation_fixture::{orthodontics, snapshot_of};

fn claims_of(example: &str) -> Vec<Claim> {
    let playbook = Playbook::built_in("orthodontics").unwrap();
    let transcript = Transcript::of(&snapshot_of(&orthodontics(example)), &playbook);
    claims(&playbook, &transcript)
}

fn brief(claims: &[Claim]) -> Vec<(String, Option<String>, &'static str, bool)> {
    claims
        .iter()
        .map(|claim| {
            let state = match claim.state {
                ClaimState::Done => "done",
                ClaimState::Promised => "promised",
                ClaimState::Failed { .. } => "failed",
            };
            (claim.record.clone(), claim.subject.clone(), state, claim.id.is_some())
        })
        .collect()
}

#[test]
fn a_booking_claims_the_files_of_parent_and_child_and_the_appointment() {
    let claims = claims_of("1-pass");
    assert_eq!(
        brief(&claims),
        [
            ("patient".into(), None, "done", true),
            ("patient".into(), Some("Ines".into()), "done", true),
            ("appointment".into(), Some("Ines".into()), "done", true),
        ]
    );
    assert_eq!(claims[1].fields["name"], "Ines Okafor");
    assert_eq!(claims[2].fields["start"], "3/17/2026 9:50:00 AM");
    assert_eq!(claims[2].keys["patient"], "5108d45a-3a0b-4176-82fd-502cdbf880d8");
}

#[test]
fn a_refused_call_is_a_failed_attempt_for_each_child() {
    let claims = claims_of("2-fail");
    assert_eq!(
        brief(&claims),
        [("appointment".into(), Some("Milo Reyes".into()), "failed", false)]
    );
    let ClaimState::Failed { error } = &claims[0].state else {
        panic!("not failed")
    };
    assert!(error.contains("HTTP 500"), "{error}");
}

#[test]
fn of_two_children_in_one_call_each_has_its_own_outcome_and_the_wrapper_adds_none() {
    assert_eq!(
        brief(&claims_of("3-partial")),
        [
            ("patient".into(), None, "done", true),
            ("patient".into(), Some("Teo".into()), "done", true),
            ("patient".into(), Some("Mila".into()), "done", true),
            ("appointment".into(), Some("Teo".into()), "done", true),
            ("appointment".into(), Some("Mila".into()), "failed", false),
        ]
    );
}
