/* Sliders that always sum to 100: moving one is made up for by those that are not held, in proportion. And the live preview. */
"use strict";
(() => {
    const LOOK_EVERY_MS = 1000;
    const form = document.getElementById("split-form");
    if (!form) return;
    const lines = [...form.querySelectorAll(".adapter-line")].map(line => ({
        range: line.querySelector("input[type=range]"),
        output: line.querySelector("output"),
        set: line.querySelector(".set"),
        bar: line.querySelector(".set-bar"),
        adapter: line.dataset.adapter,
        actual: line.querySelector(".actual-share"),
        actualBar: line.querySelector(".actual"),
        hold: line.querySelector(".lock input"),
    }));
    const preview = document.getElementById("preview");
    const initial = lines.map(line => Number(line.range.value));
    const initialChoices = [...form.querySelectorAll("input[type=radio]:checked")];

    const value = line => Number(line.range.value);
    const show = () => {
        for (const line of lines) {
            line.output.textContent = line.set.textContent = `${value(line)}%`;
            line.bar.style.width = `${value(line)}%`;
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
    for (const choice of form.querySelectorAll("input[type=radio]")) choice.addEventListener("change", later);
    const reset = document.getElementById("reset");
    if (reset) reset.addEventListener("click", () => {
        lines.forEach((line, place) => { line.range.value = initial[place]; });
        for (const choice of initialChoices) choice.checked = true;
        show();
        later();
    });
    /* What really happens, looked up again and again while somebody looks. */
    const actualOf = document.getElementById("actual-of");
    const follow = async () => {
        if (!document.hidden) {
            try {
                const response = await fetch(form.dataset.live, { credentials: "same-origin" });
                if (response.ok) {
                    const { of, shares } = await response.json();
                    actualOf.textContent = of;
                    for (const line of lines) {
                        const share = shares[line.adapter] ?? null;
                        line.actual.textContent = share === null ? "–" : `${Math.round(share * 100)}%`;
                        line.actualBar.style.width = `${(share ?? 0) * 100}%`;
                    }
                }
            } catch { actualOf.textContent = "The gateway cannot be reached; trying again."; }
        }
        setTimeout(follow, LOOK_EVERY_MS);
    };
    setTimeout(follow, LOOK_EVERY_MS);

    // A browser that remembers a form's values over a reload must not show other words than sliders.
    show();
    if (lines.some(line => !line.range.disabled)) ask();
})();
