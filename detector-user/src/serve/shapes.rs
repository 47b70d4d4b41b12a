//! What the description says of requests beyond their types: which words a text may be, how every route may refuse.

use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        Object, ObjectBuilder, RefOr, Schema,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};

use super::problem::Problem;
use crate::{decide::family::Family, features::NAMES, flow::State};

/// One of some words.
fn one_of(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
}

/// A family's name.
pub(super) fn family() -> Object {
    one_of(Family::ALL.map(Family::name)).build()
}

/// What flows are ordered by.
pub(super) fn sort() -> Object {
    one_of(super::flows::SORTS.map(|(name, _)| name)).build()
}

/// What may have become of a flow.
pub(super) fn state() -> Object {
    one_of(super::flows::STATES.map(State::name)).build()
}

/// A row: values by feature name; those that are not there, or null, are missing.
pub(super) struct FeatureValues;

impl utoipa::PartialSchema for FeatureValues {
    fn schema() -> RefOr<Schema> {
        let value =
            ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Number, Type::Null]));
        ObjectBuilder::new()
            .description(Some(
                "Values by feature name; those that are not there, or null, are missing.",
            ))
            .property_names(Some(one_of(NAMES.iter().copied()).build()))
            .additional_properties(Some(AdditionalProperties::RefOr(value.build().into())))
            .into()
    }
}

impl ToSchema for FeatureValues {}

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct File(#[expect(dead_code, reason = "it is described, not made")] Vec<u8>);

/// How every route that changes something may refuse to.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "they are described, not made")]
pub(super) enum NoChange {
    /// The token is missing or wrong
    #[response(status = 401, content_type = "application/problem+json")]
    Token(Problem),
    /// This listener takes no changes
    #[response(status = 403, content_type = "application/problem+json")]
    Reads(Problem),
    /// There is no data plane, or too many changes wait
    #[response(status = 503, content_type = "application/problem+json")]
    Busy(Problem),
}

/// How a route that takes a body may refuse it.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "they are described, not made")]
pub(super) enum NoBody {
    /// It cannot be read, or means nothing here
    #[response(status = 400, content_type = "application/problem+json")]
    Meaning(Problem),
    /// It is too large
    #[response(status = 413, content_type = "application/problem+json")]
    Large(Problem),
}
