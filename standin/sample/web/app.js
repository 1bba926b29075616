// Shows the orders of the API in the table of index.html.

const rows = document.querySelector("#orders");
const message = document.querySelector("#message");

function row(order) {
  const line = document.createElement("tr");
  const total = (order.total_cents / 100).toFixed(2);
  for (const value of [order.id, order.customer, total, order.status]) {
    const cell = document.createElement("td");
    cell.textContent = String(value);
    line.append(cell);
  }
  return line;
}

async function show() {
  const response = await fetch("/orders");
  if (!response.ok) {
    message.textContent = "The orders cannot be loaded now.";
    return;
  }
  const { orders } = await response.json();
  rows.replaceChildren(...orders.map(row));
  message.textContent = orders.length ? "" : "There are no orders yet.";
}

show();
