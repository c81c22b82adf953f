// Drives a running Duely with types made by openapi-typescript, through openapi-fetch.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./out/openapi-typescript/schema";

type Task = components["schemas"]["Task"];

async function main(): Promise<void> {
  const client = createClient<paths>({ baseUrl: process.env["DUELY_URL"] ?? "" });
  const account = { username: `openapi-fetch-${Date.now()}`, password: "a long sentence of mine" };

  const signedUp = await client.POST("/api/v1/auth/signup/", {
    body: { ...account, email: `${account.username}@example.org` },
  });
  assert.equal(signedUp.data?.role, "member");
  const signedIn = await client.POST("/api/v1/auth/login/", { body: account });
  assert.ok(signedIn.data);
  const token = signedIn.data.access;
  client.use({
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  });

  const made: Task[] = [];
  for (const [title, priority, status] of [
    ["Milk", "low", "pending"],
    ["Rent", "high", "in_progress"],
    ["Bank", "urgent", "completed"],
  ] as const) {
    const { data, response } = await client.POST("/api/v1/tasks/", {
      body: { title, priority, status, due_date: "2098-01-31", tags: ["home"] },
    });
    assert.equal(response.status, 201);
    assert.ok(data);
    made.push(data);
  }

  // Several values of a filter and of the ordering, and pages of both kinds, with the defaults of the document.
  const query = { status: ["pending" as const, "in_progress" as const], ordering: ["-priority" as const] };
  const first = await client.GET("/api/v1/tasks/", { params: { query: { ...query, limit: 1, page_size: 20 } } });
  assert.ok(first.data && "next_cursor" in first.data.pagination);
  assert.deepEqual(first.data.data.map((task) => task.title), ["Rent"]);
  const cursor = first.data.pagination.next_cursor;
  assert.ok(cursor);
  const second = await client.GET("/api/v1/tasks/", { params: { query: { ...query, limit: 1, cursor } } });
  assert.deepEqual(second.data?.data.map((task) => task.title), ["Milk"]);
  const numbered = await client.GET("/api/v1/tasks/", { params: { query: { limit: 20, page_size: 2, page: 2 } } });
  assert.ok(numbered.data && "total" in numbered.data.pagination);
  assert.equal(numbered.data.pagination.total, 3);

  // An edit, and the same edit again by someone who has not seen it.
  const path = { task_id: made[0]!.id };
  const before = await client.GET("/api/v1/tasks/{task_id}/", { params: { path } });
  const header = { "If-Match": before.response.headers.get("ETag") ?? "" };
  const edited = await client.PATCH("/api/v1/tasks/{task_id}/", {
    params: { path, header },
    body: { title: "Oat milk", due_date: null },
  });
  assert.equal(edited.data?.version, 2);
  assert.equal(edited.data.due_date, null);
  const stale = await client.PATCH("/api/v1/tasks/{task_id}/", { params: { path, header }, body: { title: "Soy" } });
  assert.equal(stale.error?.code, "version_conflict");
  assert.ok(stale.error.code === "version_conflict" && "title" in stale.error.current);
  assert.equal(stale.error.current.title, "Oat milk");

  const refused = await client.POST("/api/v1/tasks/", { body: { title: "" } });
  assert.ok(refused.error?.code === "validation_failed");
  const status: 400 = refused.error.status;
  assert.equal(status, 400);
  assert.deepEqual(refused.error.errors.map((fault) => fault.field), ["title"]);

  const changed = await client.POST("/api/v1/tasks/bulk/", {
    body: { operations: [{ op: "update", id: made[1]!.id, status: "completed" }, { op: "delete", id: made[2]!.id }], atomic: false },
  });
  assert.deepEqual(changed.data?.results.map((result) => result.status), [200, 204]);
}

main().catch((fault: unknown) => {
  console.error(fault);
  process.exit(1);
});
