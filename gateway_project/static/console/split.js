/* Sliders that always sum to 100: moving one is made up for by those that are not held, in proportion. The live preview, what
   really happens meanwhile, and a word before what was set here and not saved is lost. */
"use strict";
(() => {
    const LOOK_EVERY_MS = 1000;
    const form = document.getElementById("split-form");
    if (!form) return;
    const lines = [...form.querySelectorAll(".adapter-line")].map(line => ({
        adapter: line.dataset.adapter,
        range: line.querySelector("input[type=range]"),
        output: line.querySelector("output"),
        isNew: line.querySelector(".new"),
        hold: line.querySelector(".lock input"),
        dot: line.querySelector(".who .dot"),
        told: line.querySelector(".told"),
        actual: line.querySelector(".actual-share"),
        actualBar: line.querySelector(".actual"),
        firstToken: line.querySelector(".first-token"),
        errors: line.querySelector(".errors"),
        limits: [...line.querySelectorAll(".headroom li")].map(limit => ({
            told: limit.querySelector("span"), bar: limit.querySelector("i"),
        })),
    }));
    const choices = [...form.querySelectorAll("input[type=radio]")];
    const preview = document.getElementById("preview");

    // What was sent with the page is what is in force; the values themselves may be those that the browser remembers.
    const value = line => Number(line.range.value);
    const isMoved = line => line.range.value !== line.range.defaultValue;
    const isChanged = () => lines.some(isMoved) || choices.some(choice => choice.checked !== choice.defaultChecked);
    const show = () => {
        for (const line of lines) {
            line.output.textContent = `${value(line)}%`;
            line.isNew.hidden = !isMoved(line);
        }
    };

    /** Whole shares in proportion to `weights` that sum to `total`: by largest remainder. */
    const apportion = (weights, total) => {
        const sum = weights.reduce((a, b) => a + b, 0);
        const exact = weights.map(weight => sum ? weight / sum * total : total / weights.length);
        const whole = exact.map(Math.floor);
        const order = exact.map((share, place) => place).sort((a, b) => (exact[b] - whole[b]) - (exact[a] - whole[a]) || a - b);
        for (let left = total - whole.reduce((a, b) => a + b, 0), place = 0; left > 0; left--, place++) whole[order[place]]++;
        return whole;
    };

    const move = moved => {
        const others = lines.filter(line => line !== moved);
        const held = others.filter(line => line.hold && line.hold.checked);
        const free = others.filter(line => !held.includes(line));
        const room = 100 - held.reduce((sum, line) => sum + value(line), 0);
        if (!free.length || value(moved) > room) moved.range.value = room;
        apportion(free.map(value), room - value(moved)).forEach((share, place) => { free[place].range.value = share; });
        show();
    };

    let timer, latest = 0;
    const ask = async () => {
        const number = ++latest;
        const response = await fetch(form.dataset.preview, { method: "POST", body: new FormData(form), credentials: "same-origin" });
        const text = await response.text();
        if (number !== latest) return;
        preview.setAttribute("aria-busy", "false");
        if (response.ok || response.status === 422) preview.innerHTML = text;
        else preview.textContent = `The preview failed with status ${response.status}; reload the page.`;
    };
    const later = () => { preview.setAttribute("aria-busy", "true"); clearTimeout(timer); timer = setTimeout(ask, 200); };

    for (const line of lines) line.range.addEventListener("input", () => { move(line); later(); });
    for (const choice of choices) choice.addEventListener("change", later);
    const reset = document.getElementById("reset");
    if (reset) reset.addEventListener("click", () => {
        for (const line of lines) line.range.value = line.range.defaultValue;
        for (const choice of choices) choice.checked = choice.defaultChecked;
        show();
        later();
    });
    let isSaving = false;
    // The buttons that bring back an earlier split have an address of their own, and lose what is set here.
    form.addEventListener("submit", event => { isSaving = !event.submitter?.hasAttribute("formaction"); });
    window.addEventListener("beforeunload", event => { if (isChanged() && !isSaving) event.preventDefault(); });
    // Back in history the page may come as it was left.
    window.addEventListener("pageshow", () => { isSaving = false; });

    /* What is the case, looked up again and again while somebody looks: all of it at once, or figures would contradict each other. */
    const actualOf = document.getElementById("actual-of");
    const tell = (node, words) => { if (node.textContent !== words) node.textContent = words; };
    const follow = async () => {
        if (!document.hidden) {
            try {
                const response = await fetch(form.dataset.live, { credentials: "same-origin" });
                if (response.ok) {
                    const { of, adapters } = await response.json();
                    tell(actualOf, of);
                    for (const line of lines) if (adapters[line.adapter]) update(line, adapters[line.adapter]);
                }
            } catch { tell(actualOf, "The gateway cannot be reached; trying again."); }
        }
        setTimeout(follow, LOOK_EVERY_MS);
    };
    const update = (line, live) => {
        tell(line.actual, live.actual);
        line.actualBar.style.width = live.actual.endsWith("%") ? live.actual : "0";
        tell(line.errors, live.errors);
        tell(line.firstToken, live.first_token);
        tell(line.told, live.told);
        line.dot.className = `dot ${live.state}`;
        line.limits.forEach((limit, place) => {
            if (!live.headroom[place]) return;
            tell(limit.told, live.headroom[place].told);
            limit.bar.style.width = live.headroom[place].width;
        });
    };
    setTimeout(follow, LOOK_EVERY_MS);

    // Whoever was faster than this script has moved one slider alone.
    const early = lines.find(isMoved);
    if (early && lines.reduce((sum, line) => sum + value(line), 0) !== 100) move(early);
    // A browser that remembers a form's values over a reload must not show other words than sliders.
    show();
    if (lines.some(line => !line.range.disabled)) ask();
})();
