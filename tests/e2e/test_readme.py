"""The browser quick start, as it stands in the README."""

from pathlib import Path

from playwright.sync_api import Page

README = (Path(__file__).parents[2] / "README.md").read_text()
LATER = """
llm = await pyruvllm.open("notes")
print(llm.documents.list()[0].title, llm.witness.count())
await llm.close()
"""


def block(language: str) -> str:
    return README.split("<!-- browser -->")[1].split(f"```{language}\n")[1].split("```")[0]


def test_the_browser_quick_start_runs(page: Page, console):
    console.allow("404")  # an empty page has no icon
    page.goto("/manifest.webmanifest")
    run = f"""async (python) => {{
        {block("js")}
        const printed = [];
        pyodide.setStdout({{ batched: (line) => printed.push(line) }});
        await pyodide.runPythonAsync(python);
        return printed;
    }}"""
    printed = page.evaluate(run, block("python"))
    assert printed[0] == "“The lease ends on 31 January 2029.” [1]"
    assert printed[1].startswith("1 Lease shares “lease”, “end”; similar in meaning (0.")
    page.reload()
    printed = page.evaluate(run, f"import pyruvllm\n{LATER}")
    assert printed == ["Lease 1"]
