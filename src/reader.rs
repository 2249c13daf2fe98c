//! Reads a transcript: by the user's own file, by the LLM, or by the offline classifier when neither can.
//!
//! The LLM's conversation is [`crate::adapters::llm_reader`]'s, each of its answers is bought once ([`crate::paid`]), and
//! what it found is held against the transcript before it counts.

use crate::{
    adapters::{
        llm_reader::{DialogSettings, FieldBrief, IntentBrief, ReaderBrief, ReadingDialog, RecordBrief, Step},
        offline_classifier,
    },
    domain::{
        playbook::Playbook,
        reading::{Reader, check},
        session::{Generation, SessionKey},
        transcript::Transcript,
    },
    env::{Env, ModelEntry, SourceEntry},
    outside::Called,
    paid::{self, Purpose},
    ports::{UpstreamError, UpstreamReason},
    queue::{JobContext, JobError},
    store::readings::StoredReading,
};

/// Unreadable answers in a row, each after a longer wait, before the offline classifier reads instead.
pub(crate) const BAD_ANSWERS: u32 = 5;

/// What came of reading.
#[derive(Debug)]
pub enum Read {
    /// A reading, and who made it.
    Reading(StoredReading),
    /// The LLM cannot answer now: never a verdict.
    Outage(UpstreamError),
}

/// Whether reading this session may cost money.
pub fn is_paid(env: &Env, key: &SessionKey) -> bool {
    let given = env.readings.as_ref().and_then(|file| file.of(&key.session_id));
    env.model.is_some() && given.is_none()
}

/// Reads one transcript.
///
/// # Errors
/// When the job must stop, or the database is away.
pub async fn read(
    ctx: &JobContext,
    env: &Env,
    entry: &SourceEntry,
    key: &SessionKey,
    generation: Generation,
    transcript: &Transcript,
) -> Result<Read, JobError> {
    let playbook = &*entry.playbook;
    if let Some(reading) = env.readings.as_ref().and_then(|file| file.of(&key.session_id)) {
        return Ok(Read::Reading(StoredReading {
            reading: reading.clone(),
            reader: Reader::File,
            dropped: Vec::new(),
        }));
    }
    let Some(model) = &env.model else {
        return Ok(offline(playbook, transcript, "no LLM is configured"));
    };
    if transcript.turns.is_empty() {
        return Ok(offline(playbook, transcript, "there is nothing to read"));
    }
    by_model(ctx, env, model, playbook, key, generation, transcript).await
}

async fn by_model(
    ctx: &JobContext,
    env: &Env,
    model: &ModelEntry,
    playbook: &Playbook,
    key: &SessionKey,
    generation: Generation,
    transcript: &Transcript,
) -> Result<Read, JobError> {
    let brief = brief(playbook);
    let (mut dialog, mut request) = ReadingDialog::start(&brief, transcript, dialog_settings(model));
    let mut name = "reading";
    loop {
        let purpose = Purpose {
            name,
            session: key,
            generation,
        };
        let answer = match paid::ask(ctx, &env.db, model, purpose, &request).await? {
            Called::Answer(answer) => answer,
            // A server that is there and answers nonsense every time may be objecting to this one session: waiting would
            // be for ever.
            Called::Outage(outage) if outage.reason == UpstreamReason::BadAnswer && ctx.snoozes() >= BAD_ANSWERS => {
                return Ok(offline(
                    playbook,
                    transcript,
                    &format!("the LLM gave no usable answer: {outage}"),
                ));
            }
            Called::Outage(outage) => return Ok(Read::Outage(outage)),
        };
        match dialog.answer(&answer, |reading| check(reading, transcript, playbook)) {
            // Whoever is not sure at all has read nothing: the transcript's own signals are a second opinion.
            Step::Done { found, .. } if found.confidence <= 0.0 => {
                return Ok(offline(
                    playbook,
                    transcript,
                    "the LLM was not sure at all (confidence 0)",
                ));
            }
            Step::Done { found, repaired, notes } => {
                return Ok(Read::Reading(StoredReading {
                    reading: found,
                    reader: Reader::Llm {
                        model: answer.model,
                        repaired,
                    },
                    dropped: notes,
                }));
            }
            Step::Ask(next) => {
                request = next;
                name = "reading_repair";
            }
            Step::Unusable(reason) => {
                tracing::warn!(session = %key, reason, "the LLM's reading cannot be used: the offline classifier reads");
                return Ok(offline(
                    playbook,
                    transcript,
                    &format!("the LLM's answer could not be used: {reason}"),
                ));
            }
        }
    }
}

fn offline(playbook: &Playbook, transcript: &Transcript, why: &str) -> Read {
    let (reading, reader) = offline_classifier::read(playbook, transcript, why);
    Read::Reading(StoredReading {
        reading,
        reader,
        dropped: Vec::new(),
    })
}

/// How a conversation with this model is bounded.
pub fn dialog_settings(model: &ModelEntry) -> DialogSettings {
    DialogSettings {
        mask: model.mask,
        max_tokens: model.max_tokens,
        ..DialogSettings::default()
    }
}

/// What a reader has to know of a playbook.
fn brief(playbook: &Playbook) -> ReaderBrief {
    let mut hints = vec![playbook.head.reader_hints.clone()];
    for intent in playbook.intents.iter().filter(|intent| !intent.details.is_empty()) {
        hints.push(format!("Details of intent {}:", intent.name));
        hints.extend(
            intent
                .details
                .iter()
                .map(|(name, description)| format!("- {name}: {description}")),
        );
    }
    ReaderBrief {
        intents: playbook
            .intents
            .iter()
            .map(|intent| IntentBrief {
                name: intent.name.clone(),
                description: intent.description.clone(),
            })
            .collect(),
        records: playbook
            .records
            .iter()
            .map(|record| RecordBrief {
                kind: record.kind.clone(),
                description: record.description.clone(),
                fields: record
                    .fields
                    .iter()
                    .map(|field| FieldBrief {
                        name: field.name.clone(),
                        description: field.description.clone(),
                    })
                    .collect(),
            })
            .collect(),
        hints: hints.join("\n"),
    }
}
