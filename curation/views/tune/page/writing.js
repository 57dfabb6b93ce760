// Writing moved thresholds into the recipe: first the lines that change, then the file.

import { make } from "./dom.js";
import { ask } from "./server.js";

export async function confirmWriting(state, values, written, trouble) {
  const dialog = document.getElementById("writing");
  let diff;
  try {
    ({ diff } = await ask("api/diff", { values }));
  } catch (error) {
    trouble(error);
    return;
  }
  const said = make("p", { className: "note amber", role: "alert", hidden: true });
  const cancel = make("button", { textContent: "Cancel" });
  const write = make("button", { className: "main", textContent: "Write" });
  cancel.addEventListener("click", () => dialog.close());
  write.addEventListener("click", async () => {
    write.disabled = true;
    try {
      const state = await ask("api/write", { values, diff });
      dialog.close();
      written(state);
    } catch (error) {
      said.textContent = error.message;
      said.hidden = false;
    }
  });
  const lines = diff.map((line) => {
    const kind = { "-": "minus", "+": "plus", "@": "at" }[line[0]] ?? "";
    return make("span", { className: kind, textContent: `${line}\n` });
  });
  dialog.replaceChildren(
    make("header", {}, make("h2", { textContent: `Write to ${state.recipe}` })),
    make("pre", { className: "diff" }, ...lines),
    make("p", { className: "note", }, "Only these numbers change; comments and everything else stay. Then run ", make("code", { textContent: "curate select" }), "."),
    said, make("footer", {}, cancel, write));
  dialog.showModal();
  write.focus();
}
