// Run by node: calls the server through @huggingface/inference and prints what came back as JSON.
// Arguments: the server's URL and a file that holds the prompt.

import { readFileSync } from "node:fs";
import {
  InferenceClient,
  textGeneration,
  textGenerationStream,
} from "@huggingface/inference";

const [url, file] = process.argv.slice(2);
const inputs = readFileSync(file, "utf8");
const parameters = { max_new_tokens: 30, do_sample: false, return_full_text: false };
const endpoint = new InferenceClient().endpoint(url);

async function text() {
  const answer = await endpoint.textGeneration({ inputs, parameters });
  return answer.generated_text;
}

async function streamed() {
  let joined = "";
  for await (const event of endpoint.textGenerationStream({ inputs, parameters })) {
    joined += event.choices[0].text;
  }
  return joined;
}

async function withFunctions() {
  const answer = await textGeneration({ endpointUrl: url, inputs, parameters });
  const events = textGenerationStream({ endpointUrl: url, inputs, parameters });
  const first = (await events.next()).value;
  return { text: answer.generated_text, first: first.choices[0].text };
}

async function constrained() {
  const grammar = { type: "regex", value: "[0-9]{3}" };
  const answer = await endpoint.textGeneration({ inputs, parameters: { ...parameters, grammar } });
  return answer.generated_text;
}

async function refusal() {
  try {
    await endpoint.textGeneration({ inputs, parameters: { top_p: 2 } });
    return "";
  } catch (error) {
    return `${error.message} ${JSON.stringify(error.httpResponse?.body ?? "")}`;
  }
}

async function chat() {
  const messages = [{ role: "user", content: "Hello" }];
  const answer = await endpoint.chatCompletion({ messages, max_tokens: 5, temperature: 0 });
  let joined = "";
  const request = { messages, max_tokens: 5, temperature: 0 };
  for await (const event of endpoint.chatCompletionStream(request)) {
    joined += event.choices[0]?.delta.content ?? "";
  }
  return { text: answer.choices[0].message.content, streamed: joined };
}

console.log(
  JSON.stringify({
    text: await text(),
    streamed: await streamed(),
    withFunctions: await withFunctions(),
    constrained: await constrained(),
    refusal: await refusal(),
    chat: await chat().catch(String),
  }),
);
