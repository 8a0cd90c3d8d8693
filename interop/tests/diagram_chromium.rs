//! Chromium: the drawn pages and pictures as a reader has them. What is drawn are the golden files of the formats, and the
//! documentation's pictures of a real capture; each is measured from inside by `diagram_chromium/check.js`: no text is cut
//! or stands on another, arrows meet lifelines, what is folded is gone, keys go from finding to finding, colours can be
//! told apart, and the printed page has everything.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use restante_interop::Program;
use tempfile::TempDir;

const CHECK: &str = include_str!("diagram_chromium/check.js");

/// Sessions that are kept as a page and as a picture: made by hand, and the real one of the documentation.
const SAMPLES: [&str; 4] = [
    "crates/diagram/tests/golden/seed",
    "crates/diagram/tests/golden/everything",
    "crates/diagram/tests/golden/hostile",
    "docs/seed",
];
const SEED: &str = SAMPLES[0];
const EVERYTHING: &str = SAMPLES[1];
const HOSTILE: &str = SAMPLES[2];
/// A telephone, a tablet, a laptop, and the largest screens.
const WIDTHS: [u32; 4] = [360, 768, 1280, 3840];

fn drawn(sample: &str, extension: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(sample).with_extension(extension);
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A folder for a browser that has never run, which anybody may use: as root, the browser is run as nobody.
struct Browser {
    folder: TempDir,
}

impl Browser {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("restante-chromium-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        format!("file://{}", file.display())
    }

    /// Runs it with these arguments on this page; gives what it wrote to standard output.
    fn run(&self, arguments: &[&str], page: &str) -> String {
        let profile = format!("--user-data-dir={}", self.file("profile").display());
        let usual = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--virtual-time-budget=20000",
        ];
        let program = Program::new("chromium", "chromium", self.folder.path());
        program.args(usual).arg(profile).args(arguments).arg(page).run().succeeded().text()
    }

    /// What the check says about a document in a window of this width: its facts and its faults.
    fn verdict(&self, document: &str, width: u32, dark: bool) -> (Vec<String>, Vec<String>) {
        let document = self.write("document.html", document);
        // In a frame, since a window has a smallest width.
        let frame = format!(
            "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><body style=\"margin:0\"><iframe src=\"{document}\" style=\"border:0;width:{width}px;height:900px\"></iframe><pre id=\"verdict\"></pre><script>addEventListener('message', said => verdict.textContent = said.data)</script>"
        );
        let frame = self.write("frame.html", &frame);
        let colours = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
        let size = format!("--window-size={},1000", width.max(600));
        let dom = self.run(&[&colours, &size, "--dump-dom"], &frame);
        let (_, behind) = dom.split_once("<pre id=\"verdict\">").expect("the frame is there");
        let (verdict, _) = behind.split_once("</pre>").expect("it ends");
        let mut lines = verdict.lines().map(str::to_owned);
        let facts: Vec<String> = lines.by_ref().take_while(|line| line != "--").collect();
        assert!(!facts.is_empty(), "the check did not run: {dom:.2000}");
        (facts, lines.collect())
    }
}

/// A page with the check in it, which its policy would not let run.
fn with_check(page: &str) -> String {
    let (head, behind) = page.split_once("<meta http-equiv=").expect("there is a policy");
    let (_, behind) = behind.split_once('>').expect("it ends");
    format!("{head}{behind}").replace("</body>", &format!("<script>{CHECK}</script></body>"))
}

/// A picture in a page with the check.
fn framed(picture: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><body style=\"margin:0\">{picture}<script>{CHECK}</script></body>"
    )
}

fn fact<'a>(facts: &'a [String], name: &str) -> &'a str {
    let fact = facts.iter().find_map(|fact| fact.strip_prefix(name)?.strip_prefix(": "));
    fact.unwrap_or_else(|| panic!("no {name} in {facts:?}"))
}

#[track_caller]
fn assert_fine(what: &str, facts: &[String], faults: &[String]) {
    assert!(faults.is_empty(), "{what}\n{}\n{}", facts.join("\n"), faults.join("\n"));
}

#[test]
fn pages_are_fine_at_every_width_in_light_and_dark() {
    let browser = Browser::new();
    for sample in SAMPLES {
        let page = drawn(sample, "html");
        let rows = page.matches("<li class=\"row ").count();
        let mut grounds = Vec::new();
        for (place, width) in WIDTHS.into_iter().enumerate() {
            let dark = place % 2 == 1;
            let (facts, faults) = browser.verdict(&with_check(&page), width, dark);
            assert_fine(&format!("{sample} at {width}"), &facts, &faults);
            assert_eq!(fact(&facts, "width"), width.to_string());
            assert_eq!(fact(&facts, "rows"), rows.to_string());
            assert_eq!(fact(&facts, "visibility"), "auto");
            grounds.push(fact(&facts, "ground").to_owned());
        }
        assert_eq!(grounds[0], "rgb(255, 255, 255)");
        assert_ne!(grounds[0], grounds[1], "dark is light");
    }
}

#[test]
fn the_check_finds_what_is_broken() {
    let browser = Browser::new();
    let page = drawn(EVERYTHING, "html");
    let breaks = [
        (".arrow{display:block;", ".arrow{display:block;margin-left:4px;", "arrow at the client"),
        (".label{font:", ".label{min-width:200vw;font:", "wide, the window"),
        (".actor span{", ".actor span{display:block;height:4px;", "cut below"),
        (".carried{font:", ".carried{margin-top:-2.6em;font:", "texts overlap"),
        ("--muted:#59636e", "--muted:#a0a0a0", "contrast"),
        (".row.segment:not(.found,:target){display:none}", "", "folded with t"),
        ("(at + step +", "(at + 2 * step +", "went to"),
        (".row{flex:1 0 auto;", ".row{flex:1 0 auto;margin-bottom:3px;", "lifelines have a gap"),
        (" id=\"s1-r7\"", " id=\"s1-r8\"", "an id stands twice"),
    ];
    for (whole, broken, expected) in breaks {
        assert!(page.contains(whole), "{whole}");
        let (_, faults) = browser.verdict(&with_check(&page.replacen(whole, broken, 1)), 1280, false);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{broken}: {faults:?}");
    }
    let picture = drawn(SEED, "svg");
    let breaks = [
        (
            ">STAT<",
            ">STAT and a text that is far too long for the place between two lifelines, really<",
            "crosses",
        ),
        (".remark{font-size:12.5px", ".remark{font-size:25px", "texts overlap"),
        (".p1t{fill:#0b4a78}", ".p1t{fill:#8ab4d8}", "contrast"),
    ];
    for (whole, broken, expected) in breaks {
        assert!(picture.contains(whole), "{whole}");
        let (_, faults) = browser.verdict(&framed(&picture.replacen(whole, broken, 1)), 1280, false);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{broken}: {faults:?}");
    }
}

#[test]
fn pictures_are_fine_in_light_and_dark() {
    let browser = Browser::new();
    for sample in SAMPLES {
        let picture = drawn(sample, "svg");
        let mut grounds = Vec::new();
        for dark in [false, true] {
            let (facts, faults) = browser.verdict(&framed(&picture), 1280, dark);
            assert_fine(sample, &facts, &faults);
            grounds.push(fact(&facts, "ground").to_owned());
        }
        assert_ne!(grounds[0], grounds[1], "dark is light");
    }
}

#[test]
fn a_picture_works_as_an_image() {
    let browser = Browser::new();
    browser.write("picture.svg", &drawn(SEED, "svg"));
    let page = browser.write(
        "image.html",
        "<!doctype html><img src=\"picture.svg\"><script>addEventListener('load', () => { const image = document.querySelector('img'); document.body.dataset.size = image.naturalWidth + 'x' + image.naturalHeight; })</script>",
    );
    let dom = browser.run(&["--dump-dom"], &page);
    let picture = drawn(SEED, "svg");
    let [width, height] = ["width=\"", "height=\""]
        .map(|name| picture.split(name).nth(1).and_then(|rest| rest.split('"').next()).unwrap());
    assert!(dom.contains(&format!("data-size=\"{width}x{height}\"")), "{dom}");
}

#[test]
fn the_policy_lets_nothing_of_a_stranger_run() {
    let browser = Browser::new();
    let injected = "<script>document.body.dataset.ran = 1</script><img src=\"x\" onerror=\"document.body.dataset.ran = 2\"><style>body{display:none}</style></main>";
    let page = browser.write("page.html", &drawn(HOSTILE, "html").replace("</main>", injected));
    let dom = browser.run(&["--dump-dom"], &page);
    assert!(!dom.contains("data-ran"), "a stranger's script has run");
    // Our own has: it shows the buttons.
    assert!(dom.contains("<div class=\"jump\">"), "the page's own script did not run");
}

#[test]
fn the_printed_page_has_every_row_and_no_row_is_broken() {
    let browser = Browser::new();
    for sample in SAMPLES.into_iter().filter(|sample| *sample != HOSTILE) {
        let page = drawn(sample, "html");
        let address = browser.write("page.html", &page);
        let pdf = browser.file("page.pdf");
        let print = format!("--print-to-pdf={}", pdf.display());
        browser.run(&[&print, "--no-pdf-header-footer", "--blink-settings=preferredColorScheme=0"], &address);
        let text = Program::new("pdftotext", "poppler-utils", browser.folder.path())
            .args(["-raw", "-enc", "UTF-8"])
            .arg(&pdf)
            .arg("-")
            .run()
            .succeeded()
            .text();
        assert!(!text.contains("Next finding"), "controls are printed");
        assert!(brightness(&browser, &pdf) > 200, "dark is printed");
        let pages: Vec<String> = text.split('\u{c}').map(dense).collect();
        let rows = rows(&page);
        assert!(rows.len() > 20, "{}", rows.len());
        for row in rows {
            assert!(
                pages.iter().any(|page| page.contains(&row)),
                "{sample}: {row} is not on one page\n{text}"
            );
        }
    }
}

/// How bright the first page is on average, up to 255.
fn brightness(browser: &Browser, pdf: &Path) -> u64 {
    let image = Program::new("pdftoppm", "poppler-utils", browser.folder.path())
        .args(["-gray", "-r", "20", "-l", "1"])
        .arg(pdf)
        .run()
        .succeeded()
        .stdout;
    // Behind a head of some octets, each octet is a point.
    let points = &image[image.len() / 10..];
    points.iter().map(|point| u64::from(*point)).sum::<u64>() / points.len() as u64
}

/// The text without spaces and without what a font may lack: how lines are broken does not count.
fn dense(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).collect()
}

/// What each row says with its segments, dense.
fn rows(page: &str) -> Vec<String> {
    let said = page.split("<span class=\"label\">").skip(1).filter_map(|row| row.split("</summary>").next());
    let plain = |row: &str| {
        let mut text = String::new();
        let mut inside = false;
        for c in row.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&#39;", "'")
            .replace("&quot;", "\"")
            .replace("&amp;", "&")
    };
    said.map(|row| dense(&plain(row))).collect()
}
