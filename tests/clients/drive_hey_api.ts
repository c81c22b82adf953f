// Drives a running Duely with the client made by @hey-api/openapi-ts.
import assert from "node:assert/strict";
import { client } from "./out/hey-api/client.gen";
import { changeTasks, createTask, getTask, importFile, listTasks, logIn, signUp, updateTask } from "./out/hey-api";
import type { Task } from "./out/hey-api";

async function main(): Promise<void> {
  client.setConfig({ baseUrl: process.env["DUELY_URL"] ?? "" });
  const account = { username: `hey-api-${Date.now()}`, password: "a long sentence of mine" };

  const signedUp = await signUp({ body: { ...account, email: `${account.username}@example.org` } });
  assert.equal(signedUp.data?.role, "member");
  const signedIn = await logIn({ body: account });
  assert.ok(signedIn.data);
  const token = signedIn.data.access;
  client.setConfig({ auth: () => token });

  const made: Task[] = [];
  for (const [title, priority, status] of [
    ["Milk", "low", "pending"],
    ["Rent", "high", "in_progress"],
    ["Bank", "urgent", "completed"],
  ] as const) {
    const { data, response } = await createTask({ body: { title, priority, status, due_date: "2098-01-31" } });
    assert.equal(response?.status, 201);
    assert.ok(data);
    made.push(data);
  }

  const query = { status: ["pending" as const, "in_progress" as const], ordering: ["-priority" as const] };
  const first = await listTasks({ query: { ...query, limit: 1, page_size: 20 } });
  assert.ok(first.data && "next_cursor" in first.data.pagination);
  assert.deepEqual(first.data.data.map((task) => task.title), ["Rent"]);
  const cursor = first.data.pagination.next_cursor;
  assert.ok(cursor);
  const second = await listTasks({ query: { ...query, limit: 1, cursor } });
  assert.deepEqual(second.data?.data.map((task) => task.title), ["Milk"]);
  const numbered = await listTasks({ query: { limit: 20, page_size: 2, page: 2 } });
  assert.ok(numbered.data && "total" in numbered.data.pagination);
  assert.equal(numbered.data.pagination.total, 3);

  const path = { task_id: made[0]!.id };
  const before = await getTask({ path });
  const headers = { "If-Match": before.response?.headers.get("ETag") ?? "" };
  const edited = await updateTask({ path, headers, body: { title: "Oat milk", due_date: null } });
  assert.equal(edited.data?.version, 2);
  const stale = await updateTask({ path, headers, body: { title: "Soy" } });
  assert.ok(stale.error?.code === "version_conflict" && "title" in stale.error.current);
  assert.equal(stale.error.current.title, "Oat milk");

  const refused = await createTask({ body: { title: "" } });
  assert.ok(refused.error?.code === "validation_failed");
  const status: 400 = refused.error.status;
  assert.equal(status, 400);
  assert.deepEqual(refused.error.errors?.map((fault) => fault.field), ["title"]);

  const changed = await changeTasks({
    body: { operations: [{ op: "update", id: made[1]!.id, status: "completed" }, { op: "delete", id: made[2]!.id }] },
  });
  assert.deepEqual(changed.data?.results.map((result) => result.status), [200, 204]);

  // The document names three forms of a file. This client sends the first, JSON.
  const imported = await importFile({
    query: { preview: true },
    body: { format: "duely", version: 1, tasks: [{ id: made[0]!.id, title: "Oat milk" }] },
  });
  assert.equal(imported.data?.format, "duely");
}

main().catch((fault: unknown) => {
  console.error(fault);
  process.exit(1);
});
