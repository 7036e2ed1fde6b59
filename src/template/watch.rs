//! Looks at each value that a template builds, as soon as it is built: one that holds the same list twice doubles each
//! time that this is done again, and writing or comparing it is not counted in steps.

use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::weight::Scale;

/// The filters that look at a value which was built, and at one that a namespace is to keep. No template can name them.
const BUILT: &str = "built!";
const KEPT: &str = "kept!";
/// How many values are looked at for one step.
const VALUES_A_STEP: usize = 4;

/// Adds the two filters to the environment of all templates.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter(BUILT, built);
    environment.add_filter(KEPT, kept);
}

fn built(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let invalid = |detail| Error::new(ErrorKind::InvalidOperation, detail);
    let values = Scale::weigh(&value).map_err(invalid)?;
    state.consume_fuel(u64::try_from(values / VALUES_A_STEP).unwrap_or(u64::MAX))?;
    Ok(value)
}

/// A namespace that keeps a mapping may keep itself, and has no end then.
fn kept(value: Value) -> Result<Value, Error> {
    match holds_mapping(&value) {
        true => {
            Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot keep mappings or namespaces"))
        }
        false => Ok(value),
    }
}

/// Of values that were looked at when they were built, and are no larger than that allows.
fn holds_mapping(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().is_ok_and(|mut items| items.any(|item| holds_mapping(&item)))
        }
        ValueKind::Map | ValueKind::Plain => true,
        _ => false,
    }
}

/// The same instructions, with a look after each that builds a value and before each that lets a namespace keep one.
/// What is built of constants is there already, and is looked at here.
pub(super) fn watched<'source>(code: &Instructions<'source>) -> Result<Instructions<'source>, String> {
    let look = |filter| Instruction::ApplyFilter(filter, Some(1), u8::MAX);
    let mut watched = Instructions::new(code.name(), code.source());
    // Where each instruction stands now, and what follows the last.
    let (mut places, mut end) = (Vec::new(), 0);
    let all = (0..).map_while(|at| code.get(at)).cloned();
    for instruction in all {
        if let Instruction::LoadConst(value) = &instruction {
            Scale::weigh(value)?;
        }
        let builds = builds(&instruction);
        let place = match instruction {
            Instruction::SetAttr(_) => {
                let place = watched.add(Instruction::Swap);
                watched.add(look(KEPT));
                watched.add(Instruction::Swap);
                watched.add(instruction);
                place
            }
            _ => watched.add(instruction),
        };
        places.push(place);
        if builds {
            watched.add(look(BUILT));
        }
        while watched.get(end).is_some() {
            end += 1;
        }
    }
    places.push(end);
    let mut at = 0;
    while let Some(instruction) = watched.get_mut(at) {
        if let Instruction::Iterate(target)
        | Instruction::Jump(target)
        | Instruction::JumpIfFalse(target)
        | Instruction::JumpIfFalseOrPop(target)
        | Instruction::JumpIfTrueOrPop(target) = instruction
        {
            *target =
                usize::try_from(*target).ok().and_then(|old| places.get(old)).copied().unwrap_or(*target);
        }
        at += 1;
    }
    Ok(watched)
}

/// Whether an instruction leaves a value that was not there before, or is larger than what was.
fn builds(instruction: &Instruction<'_>) -> bool {
    matches!(
        instruction,
        Instruction::BuildList(_)
            | Instruction::BuildTuple(_)
            | Instruction::BuildMap(_)
            | Instruction::Add
            | Instruction::Mul
            | Instruction::ApplyFilter(..)
            | Instruction::CallFunction(..)
            | Instruction::CallMethod(..)
            | Instruction::CallObject(_)
    )
}
