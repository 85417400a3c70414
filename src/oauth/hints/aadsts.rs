//! Microsoft's codes, the AADSTS numbers: what each means and the one thing to do. A number stands in one row only.

use super::{Class, PASSES};

/// What numbers that mean the same mean.
pub(super) struct Row {
    pub(super) codes: &'static [u64],
    pub(super) class: Class,
    pub(super) what: &'static str,
    pub(super) cure: &'static str,
}

const fn person(codes: &'static [u64], what: &'static str, cure: &'static str) -> Row {
    Row { codes, class: Class::Person, what, cure }
}

const fn passing(codes: &'static [u64], what: &'static str) -> Row {
    Row { codes, class: Class::Passing, what, cure: PASSES }
}

const SIGN_IN_AGAIN: &str = "The mailbox's owner has to sign in again";
const NEW_CODE: &str = "Run the command again for a new code";

/// The row of a number.
pub(super) fn row(code: u64) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.codes.contains(&code))
}

/// The row of the number that a description begins with, as Microsoft's all do.
pub(super) fn row_told(description: &str) -> Option<&'static Row> {
    let digits = description.strip_prefix("AADSTS")?.split(':').next()?;
    row(digits.parse().ok()?)
}

pub(super) static ROWS: &[Row] = &[
    // The app and how it proves itself.
    person(&[7_000_215], "The client secret is wrong", "Put the secret's Value, not its Secret ID, into client_secret"),
    person(
        &[7_000_222],
        "The client secret has expired",
        "Make a new secret under Certificates & secrets of the app registration and put its Value into client_secret",
    ),
    person(
        &[7_000_218, 7_000_216],
        "The app has to prove itself with a client secret, and none was sent",
        "Set client_secret, or allow public client flows in the app registration",
    ),
    person(
        &[700_025],
        "The app is registered as a public client and must not send a client secret",
        "Remove client_secret, or register the app as a confidential client",
    ),
    person(
        &[700_027],
        "The provider does not know the key that signed the app's assertion",
        "Upload the certificate of client_certificate under Certificates & secrets of the app registration",
    ),
    person(
        &[700_024],
        "The app's assertion is not valid at this time",
        "Set this machine's clock; if it is right, see that the file of client_assertion is renewed",
    ),
    person(
        &[70_021, 700_211, 700_212, 700_213],
        "The app has no federated credential for this assertion",
        "Enter the assertion's issuer, subject and audience under Federated credentials of the app registration",
    ),
    person(
        &[700_021],
        "The assertion was made for another app",
        "Check that client_id and client_assertion belong together",
    ),
    person(
        &[700_016, 7_000_229],
        "The tenant does not know this app",
        "Check client_id and tenant, and that an administrator has consented to the app in this tenant",
    ),
    person(
        &[7_000_112],
        "The app is disabled in the tenant",
        "An administrator has to enable it under Enterprise applications",
    ),
    person(
        &[50_011, 500_113],
        "The app registration does not know the address that the browser is sent back to",
        "Enter redirect_uri, or http://localhost where none is set, under Authentication of the app registration",
    ),
    // The tenant and what is asked of it.
    person(
        &[90_002, 90_038, 900_023],
        "There is no such tenant in this cloud",
        "Check tenant, and that the provider is the tenant's own cloud",
    ),
    person(
        &[9_001_023],
        "This grant needs one certain tenant",
        "Set tenant to the directory's domain or id instead of common, organizations or consumers",
    ),
    person(
        &[50_194],
        "The app is registered for one tenant only",
        "Set tenant to that directory's domain or id instead of common or organizations",
    ),
    person(
        &[500_011],
        "The tenant does not know the service the scope names",
        "Check the host in scopes; the tenant needs a licence with Exchange Online",
    ),
    person(
        &[650_057],
        "The app registration does not list what the scope asks for",
        "Add the permission under API permissions of the app registration, and consent to it",
    ),
    person(
        &[70_011, 28_002, 28_003, 700_022, 1_002_012],
        "The scope is not one the provider grants",
        "Check scopes: all of one resource, for client-credentials exactly one that ends in /.default",
    ),
    person(
        &[900_144, 90_014],
        "The request lacked a parameter",
        "Check client_id, client_secret and scopes for an empty value; if none is, this is a fault of mailferry",
    ),
    // The person.
    person(&[50_076, 50_079, 50_074, 50_158, 50_072, 50_078], "The provider asks for a second factor", SIGN_IN_AGAIN),
    person(&[50_126], "The provider does not accept the user name or password", SIGN_IN_AGAIN),
    person(
        &[50_173, 50_133, 70_008, 700_082, 70_043, 70_000, 54_005],
        "The earlier sign-in has expired or was revoked",
        SIGN_IN_AGAIN,
    ),
    person(
        &[700_084],
        "The sign-in has ended after a day, as every sign-in of a single-page application does",
        "Register redirect_uri for Mobile and desktop applications instead, and sign in again",
    ),
    person(
        &[50_020, 50_034],
        "The tenant does not know the person who signed in",
        "Sign in with an account of the tenant; a personal account needs the provider outlook",
    ),
    person(
        &[50_053],
        "The account is locked after too many wrong passwords",
        "Wait or have an administrator unlock it; then sign in again",
    ),
    person(&[50_055], "The person's password has expired", "The mailbox's owner has to change it and sign in again"),
    person(&[50_057], "The person's account is disabled", "An administrator has to enable it"),
    person(
        &[50_105],
        "The person is not assigned to the app",
        "An administrator has to assign them under Users and groups of the enterprise application",
    ),
    person(
        &[65_001, 65_004, 90_094, 90_095],
        "Nobody has consented to what the app asks for",
        "An administrator has to grant consent under API permissions of the app registration",
    ),
    person(
        &[53_003],
        "A Conditional Access policy forbids it",
        "An administrator has to exempt this app or place (the sign-in log names the policy); where the grant is \
         device-code, use authorization-code, since a policy of Microsoft's own blocks device codes",
    ),
    person(
        &[530_032, 530_035, 50_131, 53_000, 53_001, 53_002, 700_003, 50_097, 50_129],
        "A Conditional Access or device policy forbids it",
        "An administrator has to exempt this app or place; the sign-in log names the policy",
    ),
    // A sign-in on another device (RFC 8628 section 3.5).
    passing(&[70_016], "Nobody has signed in with the code yet"),
    person(&[70_018], "The provider does not know the code", NEW_CODE),
    person(&[70_019], "Nobody signed in with the code in time", NEW_CODE),
    // What passes.
    passing(&[50_196], "The provider sees the same request too often and holds it back"),
    passing(
        &[90_055, 90_024, 90_006, 90_033, 50_033, 50_087, 90_012],
        "The provider cannot serve the request right now",
    ),
];
