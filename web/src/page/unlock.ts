// The form that stands in the place of a locked notebook.
import { alarm, announce } from "./announce";
import { element, fill } from "./element";
import { icon } from "./icons";
import { passphraseField } from "./passphrase";
import type { Protection, Secret } from "./protocol";

export interface UnlockActions {
  unlock(secret: Secret): void;
  erase(): void;
}

/** Puts the focus on what opens a locked notebook, if the form is there: it cannot have it while another view is shown. */
export function focusUnlock(box: HTMLElement): void {
  box.querySelector<HTMLElement>(".unlock input, .unlock button")?.focus();
}

/** Fills `box` with what opens the notebook, and puts the focus there. `problem`: what was wrong with the last try. */
export function unlockForm(box: HTMLElement, protection: Protection, problem: string | null, actions: UnlockActions): void {
  const { root, input } = passphraseField("Passphrase", "current-password");
  input.setAttribute("aria-describedby", "unlock-problem");
  if (problem) input.setAttribute("aria-invalid", "true");
  const device = element("button", { type: "button", class: protection.passphrase ? "button plain" : "button", onclick: () => actions.unlock({ device_key: true }) }, "Unlock with this device");
  const form = element("form", { class: "failure unlock", "aria-label": "Unlock the notebook", onsubmit: (event: Event) => {
    event.preventDefault();
    if (!input.value) return input.focus();
    const passphrase = input.value;
    input.value = "";
    actions.unlock({ passphrase });
  } },
    protection.passphrase && root,
    element("p", { id: "unlock-problem", class: problem ? "failure-message" : "visually-hidden" }, problem && icon("warn"), problem && element("span", {}, problem)),
    !protection.passphrase && !protection.this_device && element("p", {}, "It opens only with the key of the browser it was protected in, and that key is not here any more. An exported file is the only way back."),
    element("div", { class: "failure-actions" },
      protection.passphrase && element("button", { type: "submit", class: "button" }, icon("lock"), "Unlock"),
      protection.this_device && device,
      element("button", { type: "button", class: "button plain danger-text", onclick: actions.erase }, protection.passphrase ? "Forgot it: delete everything" : "Delete everything")));
  fill(box, form);
  focusUnlock(box);
  if (problem) alarm(problem);
  else announce("This notebook is locked");
}
