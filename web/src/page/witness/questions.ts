// The three questions that looking into trouble begins with: one press each.
import { element, fill } from "../element";
import { milliseconds } from "../format";
import { icon, type IconName } from "../icons";
import type { FoundEntries, Question } from "../protocol";

const QUESTIONS: Record<Question, { icon: IconName; title: string; text: string }> = {
  low_quality: { icon: "poor", title: "What was rated poorly?", text: "Ratings below 0.5" },
  similar_errors: { icon: "warn", title: "What failed like the last failure?", text: "The same error first" },
  latency_spikes: { icon: "spike", title: "What was slow in the last hour?", text: "Far slower than usual" },
};

export class Questions {
  readonly root = element("div", { class: "log-questions", role: "group", "aria-label": "Questions to the log" });
  chosen: Question | null = null;
  private readonly buttons = new Map<Question, HTMLButtonElement>();

  /** `asked` is called with the question, or with null when it was taken back. */
  constructor(asked: (question: Question | null) => void) {
    for (const [name, { icon: sign, title, text }] of Object.entries(QUESTIONS) as [Question, (typeof QUESTIONS)[Question]][]) {
      this.buttons.set(name, element("button", { type: "button", class: "log-question", "aria-pressed": "false", onclick: () => {
        this.choose(this.chosen === name ? null : name);
        asked(this.chosen);
      } }, icon(sign), element("span", {}, element("span", { class: "log-question-title" }, title), element("span", { class: "log-question-text" }, text))));
    }
    fill(this.root, ...this.buttons.values());
  }

  choose(question: Question | null): void {
    this.chosen = question;
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(name === question));
  }
}

/** What an answer to a question means, in a sentence. */
export function meaning(question: Question, { total, like, median_ms, threshold_ms }: FoundEntries): string {
  if (question === "low_quality") return total ? "Answers that were rated below 0.5, newest first." : "No answer was rated below 0.5.";
  if (question === "similar_errors") {
    if (!like) return "No request has failed.";
    const which = `“${like.query}”${like.error ? ` (${like.error.kind})` : ""}`;
    return total ? `Failures like ${which}: those that failed in the same way first, each part nearest in meaning first.` : `${which} is the only request that failed.`;
  }
  if (!median_ms || !threshold_ms) return "Nothing was asked in the last 24 hours.";
  const usual = `Usual are ${milliseconds(median_ms)}, the median of the last 24 hours; a spike takes more than ${milliseconds(threshold_ms)}.`;
  return total ? `Requests of the last hour that took much longer than usual, slowest first. ${usual}` : `No spike in the last hour. ${usual}`;
}
