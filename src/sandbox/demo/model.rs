//! The demo's language model: it knows each session by words that only this session holds, and an expert by its instructions.

use std::sync::Arc;

use super::{DemoSession, PLAYBOOK, stage::Outage};
use crate::{
    domain::playbook::Playbook,
    sandbox::language_model::{Asked, Reply, ScriptedModel},
};

/// What is known of one session.
struct Known {
    marker: String,
    /// Words that are said only after the first verdict, and the answers before them.
    once: Option<String>,
    first_answers: Vec<String>,
    answers: Vec<String>,
    /// The expert's instructions and its answer.
    experts: Vec<(String, String)>,
}

/// `outage` is asked first: while it lasts, nobody is answered.
pub(super) fn scripted(sessions: &[DemoSession], outage: Option<Arc<Outage>>) -> ScriptedModel {
    let playbook = Playbook::built_in(PLAYBOOK);
    let prompt_of = |id: &str| {
        let expert = playbook
            .as_ref()
            .and_then(|playbook| playbook.experts.iter().find(|expert| expert.id == id));
        expert.map_or_else(String::new, |expert| expert.prompt.trim().to_owned())
    };
    let known: Vec<Known> = sessions
        .iter()
        .map(|session| Known {
            marker: session.marker.clone(),
            once: session.once.clone(),
            first_answers: session.first_answers.clone(),
            answers: session.answers.clone(),
            experts: session
                .experts
                .iter()
                .map(|(id, answer)| (prompt_of(id), answer.clone()))
                .collect(),
        })
        .collect();
    ScriptedModel::new(move |asked| {
        if outage.as_ref().is_some_and(|outage| outage.is_on()) {
            return Reply::Error(503, "overloaded".to_owned(), "the model is overloaded".to_owned());
        }
        // The doctor's question.
        if asked.schema.as_deref() == Some("probe") {
            return Reply::Text("{\"ok\": true}".to_owned());
        }
        let session = known.iter().find(|session| asked.text.contains(&session.marker));
        session.and_then(|session| session.reply(asked)).unwrap_or_else(|| {
            Reply::Error(
                500,
                "no_script".to_owned(),
                "the demo's model knows only the demo's sessions".to_owned(),
            )
        })
    })
}

impl Known {
    fn reply(&self, asked: &Asked) -> Option<Reply> {
        let text = if asked.schema.as_deref() == Some("root_cause") {
            let (_, answer) = self
                .experts
                .iter()
                .find(|(prompt, _)| !prompt.is_empty() && asked.text.contains(prompt))?;
            answer
        } else {
            // The chat itself says which answer is due, whoever asks and however often: a repair shows the answers before.
            let messages = asked.body["messages"].as_array()?;
            let before = messages.iter().filter(|message| message["role"] == "assistant").count();
            let early = self.once.as_ref().is_some_and(|once| !asked.text.contains(once));
            let answers = if early { &self.first_answers } else { &self.answers };
            answers.get(before).or(answers.last())?
        };
        Some(Reply::Text(text.trim().to_owned()))
    }
}
