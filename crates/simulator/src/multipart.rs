//! Forms with files (`multipart/form-data`, RFC 7578), as far as an upload needs them.

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    /// For a file.
    pub(super) file_name: Option<String>,
    pub(super) body: &'a [u8],
}

/// The parts of a body with this content type; `None` when it is no form.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary").filter(|text| !text.is_empty())?;
    let mark = format!("--{boundary}");
    let mut rest = body.get(find(body, mark.as_bytes())? + mark.len()..)?;
    let between = format!("\r\n{mark}");
    let mut found = Vec::new();
    while !rest.starts_with(b"--") {
        let length = find(rest, between.as_bytes())?;
        found.push(part(rest.get(..length)?)?);
        rest = rest.get(length + between.len()..)?;
    }
    Some(found)
}

fn part(text: &[u8]) -> Option<Part<'_>> {
    let head_length = find(text, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(text.get(..head_length)?);
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.trim().eq_ignore_ascii_case("content-disposition");
        is_it.then_some(value)
    })?;
    Some(Part {
        name: parameter(disposition, "name")?,
        file_name: parameter(disposition, "filename"),
        body: text.get(head_length + 4..)?,
    })
}

fn parameter(text: &str, wanted: &str) -> Option<String> {
    text.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case(wanted);
        is_it.then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_files_are_found_and_anything_else_is_no_form() {
        let body = "preamble\r\n--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--x\r\n\
            content-disposition: form-data; filename=\"a.jsonl\"; name=file\r\nContent-Type: text/plain\r\n\r\n{}\r\n--\n\r\n--x--\r\n";
        let found = parts("multipart/form-data; boundary=\"x\"", body.as_bytes()).unwrap();
        let read: Vec<_> = found
            .iter()
            .map(|part| (part.name.as_str(), part.file_name.as_deref(), part.body))
            .collect();
        assert_eq!(
            read,
            [
                ("purpose", None, &b"batch"[..]),
                ("file", Some("a.jsonl"), &b"{}\r\n--\n"[..])
            ]
        );
        for (kind, body) in [
            ("application/json", body),
            ("multipart/form-data; boundary=", body),
            ("multipart/form-data; boundary=y", body),
            ("multipart/form-data; boundary=x", "--x\r\nno end"),
        ] {
            assert_eq!(parts(kind, body.as_bytes()), None, "{kind}");
        }
    }
}
