// wllama on a page: loads a file, reads a prompt, generates greedily; one thread. Timings are those that it reports itself.
// Random weights say anything: bytes beyond ASCII and ends are ruled out, so that its text stays valid.

function words(count) {
  let state = 12345;
  let text = "";
  for (let word = 0; word < count; word++) {
    text += " ";
    for (let letter = 0; letter < 3; letter++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      text += String.fromCharCode(97 + ((state >>> 24) % 26));
    }
  }
  return text;
}

export async function measure({ modules, file, prompt, tokens, context, banned, runs }) {
  const at = `${modules}/@wllama/wllama/esm`;
  const { Wllama, LoggerWithoutDebug } = await import(`${at}/index.js`);
  const wllama = new Wllama({ default: `${at}/wasm/wllama.wasm` }, { suppressNativeLog: true, logger: LoggerWithoutDebug });
  const blob = await (await fetch(file)).blob();
  const begun = performance.now();
  await wllama.loadModel([blob], { n_threads: 1, n_ctx: context, n_batch: 512, n_parallel: 1, n_gpu_layers: 0, seed: 42 });
  const figures = { "loaded, s": (performance.now() - begun) / 1000, prefill: [], decode: [] };
  const bias = Object.fromEntries(banned.map((id) => [id, -100]));
  for (let run = 0; run < runs; run++) {
    const asked = { prompt: words(prompt - run), max_tokens: tokens, temperature: 0, ignore_eos: true, logit_bias: bias, cache_prompt: false };
    const { timings } = await wllama.createCompletion(asked);
    figures.prefill.push(timings.prompt_per_second);
    figures.decode.push(timings.predicted_per_second);
  }
  await wllama.exit();
  return figures;
}
