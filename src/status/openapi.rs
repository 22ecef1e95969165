//! The document that describes the routes, made from the same list as they are.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Header, HeaderBuilder, InfoBuilder, KnownFormat,
    LicenseBuilder, OpenApi, Ref, RefOr, ResponseBuilder, ResponsesBuilder, Server,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::Parts;
use super::envelope::json_bytes;
use crate::record::status::{Any, ErrorEnvelope};

/// The body of every refusal.
pub(super) type Refused = ErrorEnvelope<'static>;

/// A moment that a client writes: RFC 3339, or Unix milliseconds.
pub(super) struct Moment;

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0));
        OneOfBuilder::new().item(text).item(number).into()
    }
}

impl ToSchema for Moment {}

/// What every route may answer in addition to its own answers.
const ALWAYS: [(StatusCode, &str); 8] = [
    (
        StatusCode::UNAUTHORIZED,
        "The token is missing or wrong, where there is one",
    ),
    (
        StatusCode::FORBIDDEN,
        "A page of another origin has caused the request",
    ),
    (
        StatusCode::REQUEST_TIMEOUT,
        "The body has not arrived in time",
    ),
    (
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body has more than 64 KiB",
    ),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "What changes something must be application/json",
    ),
    (
        StatusCode::MISDIRECTED_REQUEST,
        "The Host header names another server",
    ),
    (
        StatusCode::BAD_REQUEST,
        "A parameter, a header or the body is not valid; the detail says which",
    ),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "Try again: the database is locked or full, too many requests wait or read lists, or too many answers are \
         still being sent",
    ),
];

/// The routes, and the document that describes them.
pub(super) fn described(routes: OpenApiRouter<Parts>) -> (Router<Parts>, OpenApi) {
    let (router, mut document) = routes.split_for_parts();
    let license = LicenseBuilder::new()
        .name("MIT")
        .identifier(Some("MIT"))
        .build();
    document.info = InfoBuilder::new()
        .title("jobtrackd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The status server of jobtrackd: the jobs it follows, their history and their events.",
        ))
        .license(Some(license))
        .build();
    document.servers = Some(vec![Server::new("/")]);
    let bearer = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token of `status.token_file`, where there is one"))
            .build(),
    );
    let mut schemas = Vec::new();
    Refused::schemas(&mut schemas);
    schemas.push((Refused::name().into_owned(), Refused::schema()));
    let components = document.components.take().unwrap_or_default();
    let components = ComponentsBuilder::from(components)
        .schemas_from_iter(schemas)
        .security_scheme("bearer", bearer);
    document.components = Some(components.build());
    let token = SecurityRequirement::new("bearer", Vec::<String>::new());
    document.security = Some(vec![SecurityRequirement::default(), token]);
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post];
        operations.into_iter().flatten().for_each(always);
    }
    (router, document)
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1));
    HeaderBuilder::new()
        .schema(Some(seconds))
        .description(Some("Seconds after which to try again"))
        .build()
}

fn always(operation: &mut Operation) {
    let described = &operation.responses.responses;
    let missing = ALWAYS
        .into_iter()
        .filter(|(status, _)| !described.contains_key(status.as_str()));
    let mut more = ResponsesBuilder::new();
    for (status, description) in missing {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(Refused::name())))
            .build();
        let mut response = ResponseBuilder::new()
            .description(description)
            .content("application/json", content);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header("retry-after", retry_after());
        }
        more = more.response(status.as_str(), response);
    }
    operation.responses.responses.extend(more.build().responses);
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "health",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = std::collections::HashMap<String, Any>),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| super::document().into());
    json_bytes(DOCUMENT.clone())
}
