// The token stands behind the # of the address, which browsers do not send: no log has it. Nothing happens before the
// click, since programs that check mails open links too.
const token = location.hash.slice(1);
const say = document.getElementById("say");
const form = document.getElementById("confirm");

if (token) {
  form.hidden = false;
} else {
  say.textContent = say.dataset.broken;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const password = form.querySelector("input").value;
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(password ? { token, password } : { token }),
    });
    const told = await answer.json();
    const faults = (told.errors ?? []).map((error) => error.message).join(" ");
    say.textContent = answer.ok ? told.message : faults || `${told.title} ${told.detail}`;
    form.hidden = answer.ok || told.code === "invalid_token";
    if (answer.ok) history.replaceState(null, "", location.pathname);
  } catch {
    say.textContent = say.dataset.lost;
  }
  button.disabled = false;
});
