/* The playground: sends one conversation to several models, shows their streams side by side. Everything that comes from a model
   is set as text, never as HTML. */
"use strict";
(() => {
    const settings = JSON.parse(document.getElementById("playground-settings").textContent);
    const form = document.getElementById("playground");
    const columns = document.getElementById("columns");
    const template = document.getElementById("column");
    const problem = form.querySelector(".problem");
    const stop = document.getElementById("stop");
    const field = name => document.getElementById(name);
    const running = new Set();

    /* --- What is asked --- */

    const json = (name, kind) => {
        const text = field(name).value.trim();
        if (!text) return null;
        let value;
        try { value = JSON.parse(text); } catch (error) { throw new Error(`${name}: this is not JSON: ${error.message}`); }
        if (kind === "list" ? !Array.isArray(value) : Array.isArray(value) || typeof value !== "object") {
            throw new Error(`${name}: give a JSON ${kind}.`);
        }
        return value;
    };

    const messages = () => {
        const whole = json("conversation", "list");
        if (whole) return whole;
        const said = field("message").value, image = field("image").value.trim(), system = field("system").value.trim();
        const content = image ? [{ type: "text", text: said }, { type: "image_url", image_url: { url: image } }] : said;
        return [...(system ? [{ role: "system", content: system }] : []), { role: "user", content }];
    };

    const bodyFor = model => {
        const body = { model, messages: messages() };
        for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
            if (field(name).value !== "") body[name] = Number(field(name).value);
        }
        const tools = json("tools", "list");
        if (tools) body.tools = tools;
        if (field("stream").checked) body.stream = true;
        return { ...body, ...(json("further", "object") || {}) };
    };

    /* --- The same elsewhere --- */

    const quoted = text => `'${text.replaceAll("'", `'\\''`)}'`;
    const curl = body => `curl -N ${settings.base_url}/chat/completions \\\n  -H 'Content-Type: application/json' \\\n`
        + `  -H "Authorization: Bearer $GATEWAY_API_KEY" \\\n  -d ${quoted(JSON.stringify(body, null, 2))}`;
    const KNOWN = ["model", "messages", "temperature", "top_p", "max_tokens", "seed", "tools", "stream"];
    const literal = (value, indent) => {
        if (value === null) return "None";
        if (typeof value === "boolean") return value ? "True" : "False";
        // A JSON string is a Python string, and a JSON number a Python number.
        if (typeof value !== "object") return JSON.stringify(value);
        const deeper = indent + "    ";
        const parts = Array.isArray(value) ? value.map(item => literal(item, deeper))
            : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item, deeper)}`);
        const [open, close] = Array.isArray(value) ? "[]" : "{}";
        return parts.length ? `${open}\n${deeper}${parts.join(`,\n${deeper}`)},\n${indent}${close}` : open + close;
    };
    const python = body => {
        const own = Object.entries(body).filter(([name]) => KNOWN.includes(name));
        const extra = Object.fromEntries(Object.entries(body).filter(([name]) => !KNOWN.includes(name)));
        const lines = own.map(([name, value]) => `    ${name}=${literal(value, "    ")},`);
        if (Object.keys(extra).length) lines.push(`    extra_body=${literal(extra, "    ")},`);
        const reading = body.stream
            ? 'for chunk in answer:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="")'
            : "print(answer.choices[0].message.content)";
        return "import os\n\nfrom openai import OpenAI\n\n"
            + `client = OpenAI(base_url="${settings.base_url}", api_key=os.environ["GATEWAY_API_KEY"])\n`
            + `answer = client.chat.completions.create(\n${lines.join("\n")}\n)\n${reading}\n`;
    };

    const copy = async (column, kind) => {
        const code = column.querySelector(".code");
        try {
            const body = bodyFor(column.querySelector("select").value);
            code.textContent = kind === "curl" ? curl(body) : python(body);
        } catch (error) { code.textContent = error.message; return; }
        // Only pages over HTTPS (and localhost) may write to the clipboard; elsewhere the text is there to be selected.
        if (navigator.clipboard) await navigator.clipboard.writeText(code.textContent).catch(() => undefined);
        const range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
    };

    /* --- What comes back --- */

    async function* events(body) {
        const reader = body.getReader(), decoder = new TextDecoder();
        let rest = "";
        for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            rest += decoder.decode(value, { stream: true });
            const lines = rest.split("\n");
            rest = lines.pop();
            for (const line of lines) {
                const data = line.startsWith("data:") ? line.slice(5).trim() : "";
                if (data && data !== "[DONE]") yield JSON.parse(data);
            }
        }
    }

    const money = value => value ? `$${Number(value.toPrecision(3))}` : "$0";

    class Answer {
        constructor(column) {
            this.column = column;
            this.began = performance.now();
            this.text = column.querySelector(".answer");
            this.reasoning = column.querySelector(".reasoning");
            this.figures = column.querySelector(".figures");
            this.problem = column.querySelector(".problem");
            this.text.textContent = this.problem.textContent = this.reasoning.querySelector("pre").textContent = "";
            this.reasoning.hidden = true;
            this.calls = {};
            column.querySelector(".route").hidden = true;
            this.figures.textContent = "waiting …";
        }

        take(message) {
            const thought = message.reasoning || message.reasoning_content;
            if (thought) {
                this.reasoning.hidden = false;
                this.reasoning.querySelector("pre").textContent += thought;
            }
            if (message.content) this.text.textContent += message.content;
            for (const call of message.tool_calls || []) {
                const known = this.calls[call.index ?? call.id] ||= { name: "", arguments: "" };
                known.name += call.function?.name || "";
                known.arguments += call.function?.arguments || "";
            }
            if (this.firstAt === undefined && (thought || message.content || message.tool_calls)) this.firstAt = performance.now();
        }

        chunk(chunk) {
            if (chunk.error) this.problem.textContent = chunk.error.message;
            this.provider = chunk.provider || this.provider;
            this.usage = chunk.usage || this.usage;
            for (const choice of chunk.choices || []) this.take(choice.delta || choice.message || {});
            this.show();
        }

        show() {
            const seconds = at => `${((at - this.began) / 1000).toFixed(2)} s`;
            const parts = [this.provider, this.firstAt && `first token ${seconds(this.firstAt)}`, this.endedAt && `all ${seconds(this.endedAt)}`];
            if (this.usage) {
                parts.push(`${this.usage.prompt_tokens} + ${this.usage.completion_tokens} tokens`);
                if (this.usage.cost !== undefined) parts.push(money(this.usage.cost));
            }
            this.figures.textContent = parts.filter(Boolean).join(" · ") || "no answer";
        }

        end(requestId) {
            this.endedAt = performance.now();
            const calls = Object.values(this.calls);
            if (calls.length) this.text.textContent += (this.text.textContent ? "\n" : "") + calls.map(c => `${c.name}(${c.arguments})`).join("\n");
            this.show();
            if (requestId) this.explain(requestId);
        }

        async explain(requestId) {
            const response = await fetch(settings.trace.replace("REQUEST", encodeURIComponent(requestId)), { credentials: "same-origin" });
            if (!response.ok) return;
            // Rendered by the server, which escapes whatever models and callers wrote.
            this.column.querySelector(".trace").innerHTML = await response.text();
            this.column.querySelector(".route").hidden = false;
        }
    }

    const ask = async (column, body) => {
        const answer = new Answer(column), aborting = new AbortController();
        let requestId = null;
        running.add(aborting);
        try {
            const response = await fetch(settings.answer, {
                method: "POST", body: JSON.stringify(body), signal: aborting.signal, credentials: "same-origin",
                headers: { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
            });
            requestId = response.headers.get("X-Generation-Id");
            const type = response.headers.get("Content-Type") || "";
            if (type.startsWith("text/event-stream")) for await (const chunk of events(response.body)) answer.chunk(chunk);
            else if (type.startsWith("application/json")) answer.chunk(await response.json());
            else answer.problem.textContent = `The gateway answered ${response.status}; is your session still valid? Reload the page.`;
        } catch (error) {
            answer.problem.textContent = error.name === "AbortError" ? "Stopped." : `The connection broke: ${error.message}`;
        }
        running.delete(aborting);
        stop.disabled = !running.size;
        answer.end(requestId);
    };

    /* --- The page --- */

    const add = wanted => {
        const column = template.content.firstElementChild.cloneNode(true);
        const select = column.querySelector("select");
        for (const model of settings.models) {
            const option = new Option(model.able ? model.id : `${model.id} (unconfigured)`, model.id);
            option.title = model.name;
            select.add(option);
        }
        const taken = [...columns.querySelectorAll("select")].map(other => other.value);
        const free = settings.models.find(model => model.able && !taken.includes(model.id)) || settings.models[0];
        select.value = wanted || (free ? free.id : "");
        column.querySelector(".close").addEventListener("click", () => { if (columns.children.length > 1) column.remove(); });
        for (const button of column.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(column, button.dataset.copy));
        columns.append(column);
    };

    form.addEventListener("submit", event => {
        event.preventDefault();
        problem.textContent = "";
        let bodies;
        try { bodies = [...columns.children].map(column => [column, bodyFor(column.querySelector("select").value)]); }
        catch (error) { problem.textContent = error.message; return; }
        for (const aborting of running) aborting.abort();
        stop.disabled = false;
        for (const [column, body] of bodies) ask(column, body);
    });
    form.addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
    stop.addEventListener("click", () => { for (const aborting of running) aborting.abort(); });
    field("add").addEventListener("click", () => add());

    const replay = settings.replay;
    if (replay) {
        const { temperature, top_p, max_tokens, seed, ...further } = replay.parameters;
        for (const [name, value] of Object.entries({ temperature, top_p, max_tokens, seed })) field(name).value = value ?? "";
        const { tools, ...others } = further;
        if (tools) field("tools").value = JSON.stringify(tools, null, 2);
        if (Object.keys(others).length) field("further").value = JSON.stringify(others, null, 2);
        if (replay.messages) {
            field("conversation-field").hidden = false;
            field("conversation").value = JSON.stringify(replay.messages, null, 2);
            field("message").required = false;
            const last = replay.messages.at(-1);
            field("message").value = typeof last?.content === "string" ? last.content : "";
        } else problem.textContent = "What that request said was not stored (LOG_CONTENT), only its model and parameters.";
        field("more").open = true;
    }
    add(replay && settings.models.some(model => model.id === replay.model) ? replay.model : undefined);
})();
